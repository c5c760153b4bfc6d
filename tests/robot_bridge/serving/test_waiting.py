"""The line: whose turn it is, what is batched, and what is dropped first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_bridge.serving.observation import PolicyInputs
from robot_bridge.serving.replies import Envelope
from robot_bridge.serving.waiting import Request, Waiting


def request(client: str, at: float = 0.0, lasts: float = 60.0, rows: int = 1, endpoint: str = "get_action") -> Request:
    inputs = PolicyInputs([], np.zeros((rows, 9), np.float32), ["go"] * rows)
    return Request(client.encode(), Envelope(), None, endpoint, at, inputs, at + lasts)


def line(*requests: Request, max_rows: int = 4, max_wait: float = 0.01) -> Waiting:
    waiting = Waiting(max_rows, max_wait)
    for one in requests:
        waiting.add(one)
    return waiting


def clients(batch: list[Request]) -> str:
    return "".join(one.peer.decode() for one in batch)


def test_a_batch_takes_the_first_in_line():
    assert clients(line(*map(request, "abcdef")).take(0.0, 0.0)) == "abcd"


def test_a_newer_request_keeps_its_client_s_place():
    waiting = line(request("a"), request("b"), request("c"), max_rows=1)
    replaced = waiting.add(request("a", at=1.0))
    assert replaced is not None
    assert replaced.received == 0.0
    assert clients(waiting.take(1.0, 0.0)) == "a"


def test_who_was_served_goes_to_the_end_however_often_it_asks():
    waiting = line(*map(request, "abcdefgh"), max_rows=2)
    served = ""
    for now in range(1, 13):
        for client in "abcdefgh":  # everybody asks far more often than the policy can answer
            waiting.add(request(client, at=float(now)))
        served += clients(waiting.take(float(now), 0.0))
    assert served == "abcdefgh" * 3


def test_a_lone_client_never_waits_and_several_wait_for_each_other_a_moment():
    waiting = line(request("a"))
    assert waiting.due_in(0.0) == 0.0
    assert line().due_in(0.0) is None
    waiting = line(request("a"), request("b"))
    waiting.take(0.0, 0.0)
    waiting.add(request("a", at=0.1))
    assert waiting.due_in(0.1) == pytest.approx(0.01)
    assert waiting.due_in(0.2) == 0.0
    waiting.add(request("a", at=0.109))  # asking again does not put the batch off
    assert waiting.due_in(0.109) == pytest.approx(0.001)
    waiting.add(request("b", at=0.109))
    assert waiting.due_in(0.109) == 0.0


def test_expired_requests_are_taken_out_and_not_computed():
    waiting = line(request("a", lasts=1.0), request("b"))
    assert clients(waiting.take_expired(2.0)) == "a"
    assert clients(waiting.take(2.0, 0.0)) == "b"


def test_what_would_come_too_late_stands_back_but_is_computed_when_there_is_nothing_else():
    waiting = line(request("a", lasts=0.05), request("b"), request("c"), max_rows=2)
    assert clients(waiting.take(0.0, 0.1)) == "bc"
    assert clients(waiting.take(0.0, 0.1)) == "a"


def test_other_endpoints_are_computed_alone():
    waiting = line(request("a"), request("b", endpoint="predict_codes"), request("c"))
    assert [clients(waiting.take(0.0, 0.0)) for _ in range(2)] == ["ac", "b"]


def test_a_request_of_many_rows_is_not_overtaken_for_ever():
    waiting = line(request("a"), request("b", rows=4), request("c"))
    assert [clients(waiting.take(0.0, 0.0)) for _ in range(2)] == ["ac", "b"]


def test_a_cancelled_request_is_gone():
    waiting = line(request("a"), request("b"))
    assert waiting.cancel(b"a") is not None
    assert waiting.cancel(b"a") is None
    assert len(waiting) == 1


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 6), st.floats(0.001, 3)), max_size=60))
def test_nothing_is_lost_or_answered_twice(asks: list[tuple[str, int, float]]):
    waiting = line()
    came, left = [], []
    for number, (client, rows, lasts) in enumerate(asks):
        now = number / 10
        came.append(request(client, now, lasts, min(rows, 4)))
        replaced = waiting.add(came[-1])
        left += [replaced] if replaced else []
        if number % 3 == 0:
            left += waiting.take_expired(now) + waiting.take(now, 0.2)
    while len(waiting):
        batch = waiting.take(100.0, 0.0)
        assert sum(one.inputs.rows for one in batch) <= 4
        left += batch
    assert sorted(map(id, left)) == sorted(map(id, came))
