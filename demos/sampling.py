"""The order in which training sees frames: shuffled epochs that can stop anywhere and go on exactly there."""

from collections.abc import Iterator

import numpy as np


class FrameSampler:
    """Endless batches of frame indices; every epoch is a fresh permutation, fixed by (seed, epoch).

    Each of ``world_size`` processes gets ``batch_size`` indices of its own at every step. The frames left over at the
    end of an epoch are dropped; a dataset smaller than one step makes one smaller batch.

    >>> sampler = FrameSampler(100, batch_size=8, seed=1)
    >>> next(iter(sampler)).shape, sampler.state()
    ((8,), {'seed': 1, 'epoch': 0, 'position': 1})
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        position: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if length < world_size or batch_size < 1 or not 0 <= rank < world_size:
            raise ValueError(f"cannot draw batches of {batch_size} from {length} frames for rank {rank}/{world_size}")
        self.length, self.batch_size = length, batch_size
        self.seed, self.epoch, self.position = seed, epoch, position
        self.rank, self.world_size = rank, world_size

    @property
    def batches_per_epoch(self) -> int:
        """Steps in one epoch."""
        return max(1, self.length // (self.batch_size * self.world_size))

    def state(self) -> dict[str, int]:
        """What to save and pass back to the constructor; ``position`` counts the batches already handed out."""
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position}

    def __iter__(self) -> Iterator[np.ndarray]:
        step = self.batch_size * self.world_size
        while True:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
            while self.position < self.batches_per_epoch:
                batch = order[self.position * step : (self.position + 1) * step]
                self.position += 1
                yield batch[self.rank :: self.world_size]
            self.epoch, self.position = self.epoch + 1, 0
