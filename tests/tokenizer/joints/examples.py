"""Small motions and tokenizers for the tests of the joint family."""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from demos.motion import Motion, make_motion
from demos.motion_files import write_npy
from tokenizer import train_joints


def motion(seed: int, joints: int = 5, frames: int = 60, rate: float = 30.0) -> Motion:
    """Sines of random pace, a root that walks and turns on the plane."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames) / rate
    yaw = rng.uniform(-1, 1) + rng.uniform(-1, 1) * t
    phases = t[:, None] * rng.uniform(1, 4, joints) + rng.uniform(0, 6, joints)
    q = rng.uniform(-0.5, 0.5, joints) + 0.4 * np.sin(phases)
    root = np.stack([np.cumsum(np.cos(yaw)) / rate, np.cumsum(np.sin(yaw)) / rate, np.full(frames, 0.8)], 1)
    return make_motion(f"m{seed}", rate, q, root, Rotation.from_euler("z", yaw[:, None]).as_quat())


def motion_file(folder: Path, joints: int = 5, clips: int = 6) -> Path:
    path = folder / "motions.npy"
    write_npy(path, [motion(seed, joints) for seed in range(clips)])
    return path


TINY = ["code_dim=8", "nb_code=16", "width=16", "depth=1", "threads=1", "accelerator=cpu", "batch_size=16", "lr=0.002"]


def train(folder: Path, *settings: str, run: str = "tiny", data: Path | None = None) -> Path:
    """A checkpoint trained for a few steps."""
    data = data or motion_file(folder)
    given = {setting.partition("=")[0] for setting in settings}
    small = [setting for setting in TINY if setting.partition("=")[0] not in given]
    steps = [] if "max_steps" in given or "--config" in given else ["max_steps=5", "warmup_steps=1"]
    names = [f"run_name={run}", f"runs_root={folder}/runs", f"train_datasets=[{data}:traj0.7]"]
    train_joints.main([*small, *names, f"val_datasets=[{data}:traj-0.3]", "val_batches=1", *steps, *settings])
    return folder / "runs" / "joint_tokenizer" / run / "latest.safetensors"
