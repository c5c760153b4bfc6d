"""Which targets a driver takes, whatever comes and in whatever order."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_bridge.drivers.protocol import ProtocolError, Target, pack_target
from robot_bridge.drivers.reception import TARGET_TIMEOUT, Reception


def frame(sequence: int, session: int = 1) -> bytes:
    return pack_target(Target(session, sequence, np.zeros(2), 0.0))


def test_a_target_that_is_not_newer_than_the_last_is_not_taken():
    reception = Reception(2)
    assert reception.take(frame(5), 10.0).sequence == 5
    assert reception.take(frame(5), 10.0) is None
    assert reception.take(frame(4), 10.1) is None
    assert reception.take(frame(6), 10.1).sequence == 6


def test_another_loop_takes_over_only_when_the_first_is_gone():
    reception = Reception(2)
    assert reception.alone(0.0)
    reception.take(frame(5), 10.0)
    assert not reception.alone(10.2)
    assert reception.take(frame(9, session=2), 10.2) is None
    assert reception.alone(10.3)
    assert reception.take(frame(1, session=2), 10.3).session == 2
    assert reception.take(frame(6), 10.4) is None


@given(comes=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9), st.floats(0, 0.3)), max_size=40))
def test_one_loop_at_a_time_and_never_backwards(comes: list[tuple[int, int, float]]):
    reception, now = Reception(2), 0.0
    taken: list[tuple[float, Target]] = []
    for session, sequence, later in comes:
        now += later
        target = reception.take(frame(sequence, session), now)
        if target is not None:
            taken.append((now, target))
    for (before, old), (after, new) in pairwise(taken):
        assert new.sequence > old.sequence if new.session == old.session else after - before > TARGET_TIMEOUT


def test_noise_is_an_error_and_changes_nothing():
    reception = Reception(2)
    reception.take(frame(5), 10.0)
    with pytest.raises(ProtocolError):
        reception.take(b"noise", 10.1)
    assert not reception.alone(10.2)
    assert reception.alone(10.26)
