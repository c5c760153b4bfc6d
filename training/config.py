"""What every trainer can be told; each adds settings of its own to these."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from demos.roots import DataRoots


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The settings of a training run. The defaults are the published recipe's."""

    run_name: str
    train_datasets: tuple[str, ...]
    """for example [libero_10:traj0.9]; see demos.spec"""
    val_datasets: tuple[str, ...] = ()
    demos_root: str = str(DataRoots.demos)
    tracks_root: str = str(DataRoots.tracks)
    runs_root: str = "runs"
    batch_size: int = 256
    """samples an optimisation step, over all devices"""
    gpu_max_bs: int = 64
    """samples a device takes at once; gradients of several such parts are averaged"""
    num_epochs: int | None = 100
    max_steps: int | None = None
    max_minutes: float | None = None
    lr: float = 1e-4
    lr_schedule: Literal["cosine", "warm_cosine", "linear_cosine"] | None = None
    """cosine: down to a hundredth at the end of whichever budget (epochs, steps, minutes) ends first; warm_cosine: up
    from a hundredth over the warm-up steps, then down so; linear_cosine: up from 0, then down to min_lr. A run
    of no more steps than warm up never comes down"""
    min_lr: float = 0.0
    """with linear_cosine: what the rate falls to"""
    lr_milestones: tuple[int, ...] = ()
    """steps from which on the rate is ``lr_gamma`` times what it was before, once more for each"""
    lr_gamma: float = 0.05
    warmup_steps: int = 0
    weight_decay: float = 0.0
    adam_betas: tuple[float, float] = (0.9, 0.95)
    clip_grad: float = 0.0
    """largest norm of the gradient; 0 for any"""
    ema: float = 0.0
    """decay of the averaged weights, which are then the ones that are saved; 0 for none"""
    amp: bool = True
    """mixed precision, as ``precision`` says; false computes in float32"""
    precision: Literal["auto", "bf16-mixed", "16-mixed", "32-true"] = "auto"
    """auto: bf16-mixed on a GPU, and on a CPU that computes in bfloat16 (AVX-512 BF16, AMX, Arm), else 32-true:
    without such instructions mixed precision is many times slower"""
    compile: bool = False
    """compile the model (torch.compile): the first steps take minutes, all others less"""
    accelerator: str = "auto"
    devices: int | str = 1
    num_nodes: int = 1
    threads: int | None = None
    """CPU threads torch computes with"""
    seed: int = 0
    init_from: str | None = None
    """checkpoint of the same kind and size whose weights a new run starts from (fine-tuning)"""
    resume: bool = False
    """continue the latest run of this name; a new run whose name is taken is called RUN_NAME_1, RUN_NAME_2, ..."""
    log_interval: int = 50
    val_interval: int = 1000
    val_batches: int = 16
    vis_interval: int = 5000
    """steps between pictures, for trainers that draw any"""
    save_minutes: float = 5.0
    """between updates of latest.safetensors and of what resuming needs"""
    save_interval: int | None = None
    """epochs between snapshots that are kept, EPOCH.safetensors"""
    best_measure: str | None = None
    """validation measure whose best checkpoint is kept as best.safetensors, for example loss"""
    best_is: Literal["lowest", "highest"] = "lowest"
    use_wandb: bool = False
    """tell Weights & Biases what TensorBoard is told"""
    wandb_project: str = "amplify"
    wandb_entity: str | None = None
    wandb_group: str | None = None

    @property
    def data_roots(self) -> DataRoots:
        """The folders that datasets are read from."""
        return DataRoots(self.demos_root, self.tracks_root)

    @property
    def effective_precision(self) -> Literal["bf16-mixed", "16-mixed", "32-true"]:
        """What is computed in, ``amp`` and the device considered."""
        if not self.amp:
            return "32-true"
        if self.precision != "auto":
            return self.precision
        return "bf16-mixed" if self.compute_device == "cuda" or _cpu_computes_in_bf16() else "32-true"

    @property
    def compute_device(self) -> str:
        """Where work is done that precedes training."""
        on_gpu = self.accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()
        return "cuda" if on_gpu else "cpu"

    @property
    def input_dtype(self) -> torch.dtype:
        """Of the images that models are given."""
        return torch.bfloat16 if self.effective_precision == "bf16-mixed" else torch.float32

    def runs_folder(self, kind: str) -> Path:
        """Where a trainer of this ``kind`` keeps its runs."""
        return Path(self.runs_root) / kind


MAY_CHANGE_ON_RESUME = {
    *("num_epochs", "max_steps", "max_minutes", "resume", "threads", "devices", "num_nodes", "accelerator"),
    *("runs_root", "demos_root", "tracks_root", "val_datasets", "gpu_max_bs"),
    *("log_interval", "val_interval", "val_batches", "vis_interval", "save_minutes", "save_interval", "compile"),
    *("use_wandb", "wandb_project", "wandb_entity", "wandb_group"),
}


def _cpu_computes_in_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
