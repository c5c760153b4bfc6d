"""Everything a joint tokenizer can be told, under the names of the motion VQ-VAE's YAML; its defaults are in effect.

What makes no sense is refused when the options are read, not when training is under way.
"""

from dataclasses import dataclass
from typing import Literal

from common.errors import require
from common.joint_map import JointMap
from tokenizer.fsq import check_codebook_size

Layout = Literal["delta", "state"]
Smoothing = Literal["off", "renormalise", "source"]
Quantizer = Literal["ema_reset", "ema", "reset", "orig", "fsq", "residual"]


@dataclass(frozen=True)
class FeatureConfig:
    """Which numbers of a motion are tokenized (``tokenizer.joints.features``), and of which joints."""

    layout: Layout = "delta"
    """delta: how the root moves in its own frame, and the joints; state: where the root is, how it moves, the joints"""
    prefer_expmap: bool = False
    """with layout=state: the root's rotation as a rotation vector instead of a quaternion"""
    smooth_root: Smoothing = "off"
    """of the root's velocities, over 19 frames. off: the motion can be rebuilt exactly; source: as the document's code
    does it, which fades them out at both ends; renormalise: the same without the fading"""
    smooth_joints: Smoothing = "renormalise"
    """of the joints' velocities"""
    apply_sim_to_real_map: bool = False
    """train on the robot's joints: the simulator's, mapped as the keys below say (common.joint_map)"""
    real_dof: int | None = None
    sim_to_real_idx: tuple[int, ...] | None = None
    sign: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        require(
            self.layout == "state" or not self.prefer_expmap,
            "prefer_expmap=true needs layout=state: the delta layout holds no quaternion that it could replace",
        )
        both = self.real_dof is not None and self.sim_to_real_idx is not None
        require(both or not self.apply_sim_to_real_map, "apply_sim_to_real_map=true needs real_dof and sim_to_real_idx")
        self.joint_map()

    def joint_map(self) -> JointMap | None:
        """The map that motions go through before anything else; None for none. JointMapError where it cannot be one."""
        if not self.apply_sim_to_real_map or self.sim_to_real_idx is None:
            return None
        keys: dict[str, object] = {"apply_sim_to_real_map": True, "real_dof": self.real_dof}
        keys["sim_to_real_idx"] = list(self.sim_to_real_idx)
        keys |= {name: list(value) for name in ("sign", "offset") if (value := getattr(self, name)) is not None}
        return JointMap.from_config(keys, len(self.sim_to_real_idx))


@dataclass(frozen=True)
class JointTokenizerConfig:
    """Everything that determines a joint tokenizer's function and the loss that it is trained with."""

    features: FeatureConfig = FeatureConfig()
    joint_scale: Literal["own", "common"] = "own"
    """what joints and their velocities are divided by for loss and codes. own: each by its standard deviation, as the
    document has it; common: all joints by one, and their movement a frame by the same, so that errors count alike in
    rad"""
    window_size: int = 32
    """frames of a training sample; a multiple of the frames a code stands for"""
    code_dim: int = 512
    nb_code: int = 512
    """codes that there are; of each layer of a residual quantizer; nominal for fsq"""
    num_joints: int = 24
    """said by the document, but the joints are as many as the files have"""
    down_t: int = 2
    """halvings in time: a code stands for 2 ** down_t frames"""
    stride_t: int = 2
    width: int = 512
    """channels"""
    depth: int = 3
    """residual blocks a stage"""
    dilation_growth_rate: int = 3
    vq_act: Literal["relu", "silu", "gelu"] = "relu"
    vq_norm: Literal["LN", "GN", "BN"] | None = None
    quantizer: Quantizer = "ema_reset"
    """fsq: no codebook to learn; residual: quantizer_layers codes a time step, each of what the others leave"""
    quantizer_layers: int = 4
    mu: float = 0.99
    """decay of the codebook's averages (ema, ema_reset, residual)"""
    beta: float = 1.0
    """weight of the commitment in the loss of orig"""
    reset_share: float | None = None
    """reset codes (reset, ema_reset) that are used less than this share of what they were if all were used alike; null:
    less than once a step, whatever its size"""
    recons_loss: Literal["l1_smooth", "l1", "l2"] = "l1_smooth"
    loss_vel: float = 0.5
    """weight of the loss of differences in time"""
    commit: float = 0.02
    """weight of the quantizer's loss"""
    short_clips: Literal["refuse", "pad"] = "refuse"
    """clips of less than window_size frames; pad: they stand still at their end"""

    def __post_init__(self) -> None:
        for name in ("window_size", "code_dim", "nb_code", "down_t", "width", "depth", "dilation_growth_rate"):
            require(getattr(self, name) > 0, f"{name} is {getattr(self, name)}; it must be at least 1")
        require(self.stride_t == 2, f"stride_t is {self.stride_t}; decoding doubles the frames, so only 2 fits")
        require(
            self.window_size % self.frames_per_code == 0,
            f"window_size is {self.window_size}; it must be a multiple of 2 ** down_t = {self.frames_per_code}",
        )
        require(
            self.vq_norm != "GN" or self.width % 32 == 0, f"vq_norm=GN needs a width that 32 divides, not {self.width}"
        )
        for name in ("mu", "beta", "loss_vel", "commit"):
            require(getattr(self, name) >= 0, f"{name} is {getattr(self, name)}; it must not be negative")
        require(self.mu < 1, f"mu is {self.mu}; it must be less than 1")
        share = self.reset_share
        require(share is None or 0 < share < 1, f"reset_share is {share}; it must be between 0 and 1, or null")
        require(
            self.quantizer != "residual" or self.quantizer_layers > 0,
            f"quantizer_layers is {self.quantizer_layers}; it must be at least 1",
        )
        if self.quantizer == "fsq":
            check_codebook_size(self.nb_code)

    @property
    def frames_per_code(self) -> int:
        """Frames that one code stands for."""
        return 2**self.down_t
