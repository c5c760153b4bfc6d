"""What a motion tokenizer is, for evaluation, retrieval and pictures: of point tracks, of joints or of a body alike."""

from pathlib import Path
from typing import ClassVar, Protocol, Self, runtime_checkable

from torch import Tensor


@runtime_checkable
class Tokenizer(Protocol):
    """Turns motions of one kind into short sequences and back, in eval mode, without gradients.

    A **motion** is a batch of equally long ones in the units of the world; each family says which numbers it takes:
    trajectories of points (b, v, t, n, 2), or features (b, t, d). Normalising is the tokenizer's own business.
    **Codes** are numbers of a codebook, (b, s) int64, with a residual quantiser (b, s, layers); or, where
    ``codebook_size`` is None, vectors (b, s, latent_width) float32.

    ``load_tokenizer`` opens whichever family a checkpoint is of:

    >>> tokenizer = load_tokenizer("checkpoints/joints-arm.safetensors")  # doctest: +SKIP
    >>> codes = tokenizer.encode(motion)                                  # doctest: +SKIP
    >>> again = tokenizer.decode(codes)                                   # doctest: +SKIP
    """

    kind: ClassVar[str]
    """of its checkpoints"""

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The trained tokenizer of a checkpoint; CheckpointError for anything else."""
        ...

    @property
    def codebook_size(self) -> int | None:
        """Different codes that there are; None where motion becomes vectors."""
        ...

    @property
    def latent_width(self) -> int:
        """Numbers in the vector that a code stands for, or that takes its place."""
        ...

    @property
    def frame_rate(self) -> float:
        """Frames a second (Hz) of the motion that is taken and given."""
        ...

    @property
    def rate(self) -> float:
        """Codes, or vectors, a second of motion; layers of a residual quantiser count as one."""
        ...

    def encode(self, motion: Tensor) -> Tensor:
        """A motion -> its codes.

        Raises:
            UserError: it has not the shape or the length that this tokenizer takes.
        """
        ...

    def decode(self, codes: Tensor) -> Tensor:
        """Codes -> the motion that they stand for.

        Raises:
            UserError: these are no codes of this tokenizer.
        """
        ...
