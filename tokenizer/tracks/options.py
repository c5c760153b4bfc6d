"""Everything a track tokenizer can be told. The defaults are the published AMPLIFY recipe's.

What makes no sense is refused when the options are read, not when training is under way.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from common.conventions import HORIZON, VIEWS
from common.errors import require
from tokenizer.fsq import LEVELS, actual_codebook_size, check_codebook_size

Decoding = Literal["argmax", "expectation"]
"""How a distribution over motion classes becomes a motion: its likeliest class, or its mean."""


@dataclass(frozen=True)
class LossConfig:
    """What is done to the cross-entropy of motion classes; by default nothing."""

    use_focal: bool = False
    focal_gamma: float = 2.0
    """how strongly classes that are predicted well already are discounted; 0 for not at all"""
    focal_alpha: float = 0.25
    """factor of the whole focal loss"""
    class_weight_mode: Literal["none", "radial"] = "none"
    """radial: the further a point moves, the more its class counts"""
    class_weight_strength: float = 2.0
    """the farthest class counts 1 + this, standing still 1"""
    class_weight_power: float = 2.0
    path_weight: float = 0.0
    """of the mean distance, in pixels, between the true points and those that expected motions lead to"""
    codebook_diversity_weight: float = 0.0
    """of the term 1 - entropy of the codes in use / the largest there could be"""
    codebook_diversity: Literal["soft", "count"] = "soft"
    """soft: with the gradient of the levels' soft assignments; count: counted, without a gradient (only measured)"""

    def __post_init__(self) -> None:
        for name in ("focal_gamma", "focal_alpha", "class_weight_strength", "class_weight_power", "path_weight"):
            require(getattr(self, name) >= 0, f"loss.{name} is {getattr(self, name)}; it must not be negative")
        weight = self.codebook_diversity_weight
        require(weight >= 0, f"loss.codebook_diversity_weight is {weight}; it must not be negative")


@dataclass(frozen=True)
class TokenizerConfig:
    """Everything that determines a motion tokenizer's function, and the loss it is trained with."""

    views: tuple[str, ...] = VIEWS
    num_tracks: int = 400
    true_horizon: int = HORIZON
    """frames ahead, the present one among them, that the motion covers"""
    track_pred_horizon: int = HORIZON
    """points a trajectory, spread evenly over ``true_horizon``; there is one velocity less"""
    interp_method: Literal["linear", "spline"] = "linear"
    """how points are found between frames where the two horizons differ"""
    img_shape: tuple[int, int] = (128, 128)
    """(height, width) whose pixels the motion classes count"""
    rel_cls_img_size: tuple[int, int] = (15, 15)
    """(height, width) of the window of motion classes, odd"""
    hidden_dim: int = 768
    num_heads: int = 8
    num_layers: int = 2
    """of the encoder; the decoder has half as many, rounded down"""
    attn_pdrop: float = 0.1
    codebook_size: int = 2048
    """nominal; ``actual_codebook_size`` codes exist"""
    z_noise_std: float = 0.0
    """noise on the encoder's output before it is quantised, in training only"""
    decoder_mlp_hidden_dim: int = 256
    decoder_pos_scale: float = 1.0
    """factor of the decoder's track and view embeddings; less keeps it from learning a template by heart"""
    causal_encoder: bool | str = True
    """True: causal; False: full; "diag": each time step alone"""
    per_view: bool = False
    """codes for each view apart, one view after the other"""
    cond_on_img: bool = False
    """the encoder also sees the image that the motion starts from, as tokens of a frozen ResNet-18"""
    cond_cls: bool = False
    """with cond_on_img: a further token a view that stands for its whole image, the mean of the others"""
    vision_image_size: int = 224
    """with cond_on_img: side of the square that images are resized to"""
    decode: Decoding = "argmax"
    motion_scales: dict[str, float] = field(default_factory=lambda: dict.fromkeys(VIEWS, 1.0))
    """factors of the views' motion as the encoder sees it, 1 where none is given: a standing camera's points move
    several times less than a moving one's"""
    loss_weights: dict[str, float] = field(default_factory=lambda: {"agentview": 0.9, "eye_in_hand": 0.1})
    """of the views' losses"""
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        require(
            self.causal_encoder in (True, False, "diag"),
            f"causal_encoder is {self.causal_encoder!r}; use true, false or diag",
        )
        require(self.decode in ("argmax", "expectation"), f"decode is {self.decode!r}; use argmax or expectation")
        require(len(set(self.views)) == len(self.views) > 0, f"views {list(self.views)} must be one or more, each once")
        for view in self.views:
            require(view in self.loss_weights, f"loss_weights has no entry for the view {view!r}")
            require(self.loss_weights[view] >= 0, f"loss_weights of {view!r} is negative")
        for view, scale in self.motion_scales.items():
            require(scale > 0, f"motion_scales of {view!r} is {scale}; it must be above 0")
        for name in ("num_tracks", "hidden_dim", "num_heads", "num_layers", "decoder_mlp_hidden_dim"):
            require(getattr(self, name) > 0, f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("true_horizon", "track_pred_horizon"):
            require(getattr(self, name) > 1, f"{name} is {getattr(self, name)}; a motion has at least 2 points")
        require(
            self.hidden_dim % self.num_heads == 0,
            f"hidden_dim {self.hidden_dim} cannot be divided among {self.num_heads} heads",
        )
        require(min(self.img_shape) > 0, f"img_shape is {list(self.img_shape)}; sizes must be at least 1")
        require(
            all(side > 0 and side % 2 for side in self.rel_cls_img_size),
            f"rel_cls_img_size is {list(self.rel_cls_img_size)}; both sizes must be odd, so that there is a middle",
        )
        require(0 <= self.attn_pdrop < 1, f"attn_pdrop is {self.attn_pdrop}; it must be at least 0 and less than 1")
        for name in ("z_noise_std", "decoder_pos_scale"):
            require(getattr(self, name) >= 0, f"{name} is {getattr(self, name)}; it must not be negative")
        check_codebook_size(self.codebook_size)
        require(self.cond_on_img or not self.cond_cls, "cond_cls=true needs cond_on_img=true")
        require(
            not self.cond_on_img or self.vision_image_size >= 32,
            f"vision_image_size is {self.vision_image_size}; the smallest image that gives a token is 32",
        )

    @property
    def num_velocities(self) -> int:
        """Steps of a trajectory."""
        return self.track_pred_horizon - 1

    @property
    def num_codes(self) -> int:
        """Codes that stand for one trajectory."""
        return self.num_velocities * (len(self.views) if self.per_view else 1)

    @property
    def levels(self) -> tuple[int, ...]:
        """Levels of each of a code's digits."""
        return LEVELS[self.codebook_size]

    @property
    def actual_codebook_size(self) -> int:
        """Different codes that there are: 1,920 for the nominal 2,048."""
        return actual_codebook_size(self.codebook_size)

    def to_dict(self) -> dict[str, Any]:
        """The options as nested mappings."""
        return asdict(self)
