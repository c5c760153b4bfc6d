"""Which training samples come in which step: a function of seed and step alone, so that runs resume exactly."""

import numpy as np


class DataOrder:
    """Numbers of the samples of each batch: every epoch is a new permutation, batches run across epoch borders."""

    def __init__(self, num_samples: int, batch_size: int, seed: int):
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed
        self._epoch, self._permutation = -1, np.empty(0, np.int64)

    def __call__(self, step: int) -> np.ndarray:
        """(batch_size,)"""
        position, end = step * self.batch_size, (step + 1) * self.batch_size
        parts = []
        while position < end:
            epoch, start = divmod(position, self.num_samples)
            if epoch != self._epoch:
                self._epoch = epoch
                self._permutation = np.random.default_rng([self.seed, epoch]).permutation(self.num_samples)
            parts.append(self._permutation[start : start + end - position])
            position += len(parts[-1])
        return np.concatenate(parts)
