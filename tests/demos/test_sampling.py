"""The sampler: every frame once an epoch, the same again after a restart, and never twice on two processes."""

import doctest
from itertools import islice

import numpy as np
import pytest

import demos.sampling
from demos.sampling import FrameSampler


def test_docstring_examples_hold() -> None:
    assert doctest.testmod(demos.sampling).failed == 0


def test_an_epoch_shows_every_frame_once_in_a_new_order() -> None:
    sampler = FrameSampler(60, batch_size=6, seed=4)
    first, second = (np.concatenate(list(islice(sampler, sampler.batches_per_epoch))) for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(60))
    assert first.tolist() != second.tolist()


def test_a_resumed_sampler_goes_on_where_it_stopped() -> None:
    whole = list(islice(FrameSampler(50, batch_size=8, seed=2), 20))
    stopped = FrameSampler(50, batch_size=8, seed=2)
    list(islice(stopped, 9))
    resumed = FrameSampler(50, batch_size=8, **stopped.state())
    np.testing.assert_array_equal(list(islice(resumed, 11)), whole[9:])


def test_processes_share_an_epoch_without_overlap() -> None:
    samplers = [FrameSampler(64, batch_size=4, rank=rank, world_size=4) for rank in range(4)]
    batches = [np.concatenate(list(islice(sampler, sampler.batches_per_epoch))) for sampler in samplers]
    assert {len(batch) for batch in batches} == {16}
    assert sorted(np.concatenate(batches)) == list(range(64))


def test_a_small_dataset_makes_a_small_batch() -> None:
    assert len(next(iter(FrameSampler(3, batch_size=8)))) == 3
    with pytest.raises(ValueError, match="cannot draw"):
        FrameSampler(0, batch_size=8)
