"""Opening a tokenizer of any family: the checkpoint says which it is of."""

from pathlib import Path

from tokenizer.body.model import BodyTokenizer
from tokenizer.interface import Tokenizer
from tokenizer.joints.model import JointTokenizer
from tokenizer.tracks.tokenizer import TrackTokenizer
from training import checkpoint
from training.checkpoint import CheckpointError

FAMILIES: tuple[type[Tokenizer], ...] = (TrackTokenizer, JointTokenizer, BodyTokenizer)


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The trained tokenizer of a checkpoint, whichever family it is of; CheckpointError where it is of none."""
    kind = checkpoint.read(path).kind
    for family in FAMILIES:
        if family.kind == kind:
            return family.load(path)
    known = ", ".join(family.kind for family in FAMILIES)
    raise CheckpointError(f"{path} holds a {kind} checkpoint, which is no tokenizer; tokenizers are {known}")
