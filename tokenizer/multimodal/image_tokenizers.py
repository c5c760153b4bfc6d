"""What an image tokenizer is, and how one is opened: Cosmos' TorchScript files, or a small one trained here."""

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from common.errors import UserError
from tokenizer.multimodal.canvas import SIDE
from tokenizer.multimodal.image_model import KIND, FsqImageTokenizer
from training import checkpoint

COSMOS = "cosmos"
COSMOS_REPOSITORY = "nvidia/Cosmos-0.1-Tokenizer-DI16x16"
COSMOS_LEVELS = (8, 8, 8, 5, 5, 5)
COSMOS_FILES = ("encoder.jit", "decoder.jit")


class ImageTokenizer(Protocol):
    """Images (b, 3, 256, 256) in [-1, 1] to a square of ids and back, without gradients."""

    @property
    def name(self) -> str:
        """What distinguishes it from all others: ids of one are not ids of another."""
        ...

    @property
    def vocab_size(self) -> int:
        """Ids are 0 to this, exclusively."""
        ...

    @property
    def grid(self) -> int:
        """Ids on a side."""
        ...

    def encode(self, images: Tensor) -> Tensor:
        """(b, 3, 256, 256) -> ids (b, grid, grid) int64, row by row."""
        ...

    def decode(self, ids: Tensor) -> Tensor:
        """Ids (b, grid, grid) -> (b, 3, 256, 256), about [-1, 1]."""
        ...


class TorchScriptTokenizer:
    """NVIDIA's Cosmos DI16x16, or any pair of TorchScript files with its interface.

    ``encoder.jit`` gives ids (b, 16, 16), alone or first of a tuple; ``decoder.jit`` takes them. Ids near a rounding
    edge differ between number formats and devices, so the format is part of the name.
    """

    vocab_size = 64_000
    grid = 16

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32, device: str = "cpu"):
        if missing := [name for name in COSMOS_FILES if not (folder / name).is_file()]:
            raise UserError(
                f"{folder} lacks {' and '.join(missing)}; put Cosmos' files there, from "
                f"https://huggingface.co/{COSMOS_REPOSITORY}, or train one with python -m tokenizer.train_images"
            )
        self._dtype, self._device = dtype, device
        try:
            self._encoder, self._decoder = (
                torch.jit.load(str(folder / name), map_location=device).to(dtype).eval() for name in COSMOS_FILES
            )
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"{folder}: {' or '.join(COSMOS_FILES)} is no TorchScript file ({reason})") from None
        digests = [checkpoint.digest_of(folder / name) for name in COSMOS_FILES]
        self.name = f"torchscript {' '.join(digests)} {str(dtype).removeprefix('torch.')}"
        self._folder = folder
        ids = self.encode(torch.zeros(1, 3, SIDE, SIDE))
        if self.decode(ids).shape != (1, 3, SIDE, SIDE):
            raise UserError(f"{folder / COSMOS_FILES[1]} makes no images of {SIDE} x {SIDE} px from 16 x 16 ids")

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """(b, 3, 256, 256) -> ids (b, 16, 16).

        Raises:
            UserError: the file makes something else of them.
        """
        where = self._folder / COSMOS_FILES[0]
        try:
            found = self._encoder(images.to(self._device, self._dtype))
        except RuntimeError as error:
            raise UserError(f"{where} takes no images (b, 3, {SIDE}, {SIDE}): {_last_line(error)}") from None
        ids = found[0] if isinstance(found, tuple | list) else found
        if not isinstance(ids, Tensor) or ids.is_floating_point() or ids.shape != (len(images), 16, 16):
            shape = f"{ids.dtype} {tuple(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
            raise UserError(f"{where} gives {shape}, not whole numbers (b, 16, 16); it is no 16x16 tokenizer")
        if not 0 <= int(ids.min()) <= int(ids.max()) < self.vocab_size:
            raise UserError(
                f"{where} gives ids {int(ids.min())} to {int(ids.max())}; they must be below {self.vocab_size}"
            )
        return ids.long().cpu()

    @torch.no_grad()
    def decode(self, ids: Tensor) -> Tensor:
        """Ids (b, 16, 16) -> (b, 3, 256, 256)."""
        try:
            return self._decoder(ids.to(self._device, torch.int32)).float().cpu()
        except RuntimeError as error:
            where = self._folder / COSMOS_FILES[1]
            raise UserError(f"{where} takes no ids (b, 16, 16): {_last_line(error)}") from None


def open_image_tokenizer(name: str, dtype: torch.dtype = torch.float32, device: str = "cpu") -> ImageTokenizer:
    """The tokenizer of a checkpoint of ``tokenizer.train_images``, of a folder with Cosmos' files, or ``cosmos``:
    those files from the hub.

    Raises:
        UserError: there is none.
    """
    path = Path(name)
    if path.is_dir():
        return TorchScriptTokenizer(path, dtype, device)
    if name == COSMOS:
        return TorchScriptTokenizer(_downloaded(), dtype, device)
    if not path.exists():
        raise UserError(
            f"no image tokenizer at {name}; give a checkpoint of tokenizer.train_images, a folder with "
            f"{' and '.join(COSMOS_FILES)}, or {COSMOS}"
        )
    checkpoint.read(path, KIND)
    return FsqImageTokenizer.load(path).to(device)


def _downloaded() -> Path:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise UserError("the hub needs huggingface_hub; run 'pip install huggingface_hub', or give a folder") from None
    try:
        return [Path(hf_hub_download(COSMOS_REPOSITORY, name)).parent for name in COSMOS_FILES].pop()
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"{COSMOS_REPOSITORY} cannot be downloaded ({_last_line(error)}); fetch {' and '.join(COSMOS_FILES)} "
            "elsewhere and give their folder, or train a tokenizer with python -m tokenizer.train_images"
        ) from None


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
