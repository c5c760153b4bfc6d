"""The order of samples: every one once an epoch, the same whenever it is asked for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.data_order import DataOrder

sizes = st.integers(1, 30)


@given(sizes, sizes, st.integers(0, 5))
def test_every_epoch_has_every_sample_once(num_samples: int, batch_size: int, seed: int) -> None:
    order = DataOrder(num_samples, batch_size, seed)
    steps = -(-2 * num_samples // batch_size)
    drawn = np.concatenate([order(step) for step in range(steps)])
    for epoch in drawn[:num_samples], drawn[num_samples : 2 * num_samples]:
        assert sorted(epoch.tolist()) == list(range(num_samples))


@given(sizes, sizes, st.integers(0, 50))
def test_a_step_does_not_depend_on_those_before_it(num_samples: int, batch_size: int, step: int) -> None:
    order = DataOrder(num_samples, batch_size, seed=0)
    whole = [order(i) for i in range(step + 1)]
    assert np.array_equal(DataOrder(num_samples, batch_size, seed=0)(step), whole[step])
