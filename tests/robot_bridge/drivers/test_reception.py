"""Which targets a driver takes, whatever comes and in whatever order."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_bridge.drivers.protocol import ProtocolError, Target, pack_target
from robot_bridge.drivers.reception import TARGET_TIMEOUT, Reception


def frame(reception: Reception, sequence: int, time: float, session: int = 1, boot: int | None = None) -> bytes:
    start = reception.boot if boot is None else boot
    return pack_target(Target(session, sequence, np.zeros(2), np.zeros(1), False, start, time))


def test_a_target_that_is_not_newer_than_the_last_is_not_taken():
    reception = Reception(2)
    assert reception.take(frame(reception, 5, 10.0), 10.0).sequence == 5
    assert reception.take(frame(reception, 5, 10.0), 10.0) is None
    assert reception.take(frame(reception, 4, 10.1), 10.1) is None
    assert reception.take(frame(reception, 6, 10.1), 10.1).sequence == reception.last_sequence == 6


def test_another_loop_takes_over_only_when_the_first_is_gone():
    reception = Reception(2)
    assert reception.session(0.0) == 0
    reception.take(frame(reception, 5, 10.0), 10.0)
    assert reception.session(10.2) == 1
    assert reception.take(frame(reception, 9, 10.2, session=2), 10.2) is None
    assert reception.session(10.3) == 0
    assert reception.take(frame(reception, 1, 10.3, session=2), 10.3).session == 2
    assert reception.take(frame(reception, 6, 10.4), 10.4) is None


def test_a_target_that_was_long_under_way_is_not_taken_and_keeps_nobody_alive():
    reception = Reception(2)
    reception.take(frame(reception, 1, 10.0), 10.0)
    assert reception.take(frame(reception, 2, 10.0), 10.24).sequence == 2
    assert reception.take(frame(reception, 3, 10.1), 10.4) is None
    assert reception.session(10.5) == 0


def test_a_target_for_the_driver_before_it_was_started_anew_is_not_taken():
    reception = Reception(2)
    assert reception.take(frame(reception, 1, 1.0, boot=reception.boot ^ 1), 1.0) is None
    assert reception.take(frame(reception, 1, 500.0), 1.0) is None  # nor one by another clock
    assert reception.session(1.0) == 0


@given(comes=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9), st.floats(0, 0.3)), max_size=40))
def test_one_loop_at_a_time_and_never_backwards(comes: list[tuple[int, int, float]]):
    reception, now = Reception(2), 0.0
    taken: list[tuple[float, Target]] = []
    for session, sequence, later in comes:
        now += later
        target = reception.take(frame(reception, sequence, now, session), now)
        if target is not None:
            taken.append((now, target))
    for (before, old), (after, new) in pairwise(taken):
        assert new.sequence > old.sequence if new.session == old.session else after - before > TARGET_TIMEOUT


def test_noise_is_an_error_and_changes_nothing():
    reception = Reception(2)
    reception.take(frame(reception, 5, 10.0), 10.0)
    with pytest.raises(ProtocolError):
        reception.take(b"noise", 10.1)
    assert reception.session(10.2) == 1
    assert reception.session(10.26) == 0
