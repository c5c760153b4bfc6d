"""Where a run's scalars and pictures go: TensorBoard always, Weights & Biases if asked, pictures into files too."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.errors import UserError
from common.files import replacing
from training.config import TrainingConfig


def start_wandb(config: TrainingConfig, folder: Path) -> Any:
    """The run on Weights & Biases, the same one again for a run that is resumed; None unless asked for.

    Raises:
        UserError: wandb is not installed, or refuses.
    """
    if not config.use_wandb:
        return None
    try:
        import wandb
    except ImportError:
        raise UserError(
            "use_wandb=true needs wandb, which is not installed; run 'pip install wandb', or leave it out: "
            "TensorBoard's files are written in any case"
        ) from None
    known = folder / "wandb_run_id.txt"
    try:
        run = wandb.init(
            project=config.wandb_project,
            entity=config.wandb_entity,
            group=config.wandb_group,
            name=folder.name,
            dir=str(folder),
            id=known.read_text() if known.exists() else None,
            resume="allow",
        )
    except (wandb.errors.Error, OSError) as error:
        raise UserError(f"Weights & Biases refuses ({error}); log in with 'wandb login', or use_wandb=false") from None
    with replacing(known) as file:
        file.write_text(run.id)
    return run


class Curves:
    """Takes scalars and pictures by step. What a killed run told beyond ``first_step`` is told again: forget it."""

    def __init__(self, config: TrainingConfig, folder: Path, first_step: int):
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder
        self._wandb = start_wandb(config, folder)
        self._board = SummaryWriter(str(folder), purge_step=first_step + 1 if first_step else None)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One point of each curve."""
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(dict(values), step=step)

    def pictures(self, pictures: Mapping[str, np.ndarray], step: int) -> list[Path]:
        """(h, w, 3) uint8 by name; returns where their files are."""
        paths = []
        for name, picture in pictures.items():
            path = self.folder / "pictures" / f"{name}_{step:07}.png"
            with replacing(path) as file:
                Image.fromarray(picture).save(file, "png")
            paths.append(path)
            self._board.add_image(name, picture, step, dataformats="HWC")
            if self._wandb is not None:
                import wandb

                self._wandb.log({name: wandb.Image(picture)}, step=step)
        return paths

    def close(self) -> None:
        """Writes what is left to write."""
        self._board.close()
        if self._wandb is not None:
            self._wandb.finish()
