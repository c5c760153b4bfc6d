"""Strangers: what they may cost before they have shown the token."""

import pytest

from policy.remote.wire import DEFAULT_LIMITS
from robot_bridge.serving.admission import STRANGER_BURST, STRANGER_LIMITS, STRANGER_RATE, Admission
from robot_bridge.serving.replies import Refused


def test_without_a_token_there_are_no_strangers():
    admission = Admission(None, DEFAULT_LIMITS)
    assert all(admission.limits(b"a", 0.0) is DEFAULT_LIMITS for _ in range(1000))
    admission.check(b"a", None)


def test_a_stranger_is_heard_at_a_limited_rate_and_in_small_messages():
    admission = Admission("secret", DEFAULT_LIMITS)
    heard = [admission.limits(b"a", 0.0) for _ in range(100)]
    assert heard.count(STRANGER_LIMITS) == STRANGER_BURST
    assert heard[-1] is None
    assert admission.limits(b"b", 0.0) is STRANGER_LIMITS  # each connection has its own allowance
    later = [admission.limits(b"a", 1.0 + number / 1000) for number in range(100)]
    assert later.count(STRANGER_LIMITS) == pytest.approx(STRANGER_RATE, abs=3)


def test_who_has_shown_the_token_is_heard_always():
    admission = Admission("secret", DEFAULT_LIMITS)
    admission.check(b"a", "secret")
    assert all(admission.limits(b"a", 0.0) is DEFAULT_LIMITS for _ in range(1000))


@pytest.mark.parametrize("token", [None, "wrong", "sécret", "", 3, b"secret", ["secret"], {"secret": 1}])
def test_anything_but_the_token_is_refused_every_time(token):
    admission = Admission("secret", DEFAULT_LIMITS)
    admission.check(b"a", "secret")
    with pytest.raises(Refused, match="Unauthorized: Invalid API token"):
        admission.check(b"a", token)


def test_memory_is_bounded():
    admission = Admission("secret", DEFAULT_LIMITS)
    for number in range(10_000):
        admission.limits(str(number).encode(), 0.0)
        admission.check(str(number).encode(), "secret")
    assert len(admission._known) <= 4096
    assert len(admission._allowances) <= 4096
