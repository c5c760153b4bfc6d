"""Which pairs are trained on: 80 / 10 / 10 per cent of all pairs, or of all videos."""

import random
from collections.abc import Iterable, Mapping
from typing import Literal

SplitUnit = Literal["pair", "video"]
SPLITS = ("train", "eval", "test")
SEED = 42


def split(names: Iterable[str], seed: int = SEED) -> dict[str, list[str]]:
    """Names by split, in shuffled order: the document's procedure.

    >>> {name: len(ids) for name, ids in split(f"{number:06}" for number in range(41_964)).items()}
    {'train': 33571, 'eval': 4196, 'test': 4197}
    """
    shuffled = sorted(names)
    random.Random(seed).shuffle(shuffled)
    train, held_out = int(0.8 * len(shuffled)), int(0.1 * len(shuffled))
    cuts = (shuffled[:train], shuffled[train : train + held_out], shuffled[train + held_out :])
    return dict(zip(SPLITS, cuts, strict=True))


def split_pairs(videos: Mapping[str, str], unit: SplitUnit = "video", seed: int = SEED) -> dict[str, list[str]]:
    """Pairs by split, where ``videos`` says which video each pair is of.

    The pairs of a video form a chain, so that by ``pair`` nearly every held-out frame is trained on, too: numbers that
    are told of held-out pairs need ``video``.
    """
    if unit == "pair":
        return split(videos, seed)
    chosen = split(set(videos.values()), seed)
    of_video = {video: name for name, of_split in chosen.items() for video in of_split}
    found: dict[str, list[str]] = {name: [] for name in SPLITS}
    for pair, video in sorted(videos.items()):
        found[of_video[video]].append(pair)
    return found
