"""How late messages come is seen without knowing how the two clocks stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_bridge.drivers.clock import RemoteClock


@given(ahead=st.floats(-1e6, 1e6), delays=st.lists(st.floats(0, 2), min_size=1, max_size=50))
def test_delay_is_counted_from_the_quickest_message(ahead: float, delays: list[float]):
    clock = RemoteClock()
    quickest = float("inf")
    for number, delay in enumerate(delays):
        sent = number * 0.01
        quickest = min(quickest, delay)
        seen = clock.delay(sent + ahead, sent + delay)
        assert seen == pytest.approx(delay - quickest, abs=1e-3 + 2e-4 * (number * 0.01 + 2))


def test_a_delay_that_grows_slowly_is_seen():
    clock = RemoteClock()
    delays = [clock.delay(second, second * 1.01) for second in range(30)]  # 10 ms more every second
    assert delays[-1] == pytest.approx(0.29, abs=0.01)


def test_clocks_may_run_apart_as_crystals_do():
    clock = RemoteClock()
    assert max(clock.delay(second * (1 - 1e-4), second) for second in range(10_000)) < 1e-6


def test_the_time_there_is_known_but_for_the_way():
    clock = RemoteClock()
    clock.delay(100.0, 7.0)
    assert clock.there(8.0) == 101.0
