"""Asking beside the loop: several requests may be under way, but none queues up at a slow server."""

import threading
import time

import numpy as np

from robot_bridge.asker import Asker, Observation, Reply
from tests.robot_bridge.policies import until


def seen(tick: int) -> Observation:
    return Observation(tick, float(tick), np.zeros((1, 1, 1, 3), np.uint8), np.zeros(7), np.zeros(2))


def test_answers_come_with_their_observations_in_the_order_of_their_coming():
    gates = [threading.Event(), threading.Event()]

    def ask(observation: Observation) -> np.ndarray:
        gates[observation.tick].wait(5)
        return np.full((2, 7), observation.tick)

    asker = Asker(ask, ask)
    assert asker.idle
    assert asker.want(seen(0))
    until(lambda: asker.want(seen(1)))
    assert not asker.idle
    assert not asker.want(seen(2))  # both are busy
    gates[1].set()
    answers = []
    until(lambda: answers.extend(asker.take()) or len(answers) == 1)
    gates[0].set()
    until(lambda: answers.extend(asker.take()) or len(answers) == 2)
    assert [answer.observation.tick for answer in answers] == [1, 0]
    assert [answer.chunk[0, 0] for answer in answers] == [1, 0]
    until(lambda: asker.idle)
    asker.close()


def test_while_answers_come_quickly_one_connection_does():
    used = []
    asker = Asker(*(lambda _, number=number: used.append(number) or np.zeros((2, 7)) for number in range(3)))
    for tick in range(5):
        until(lambda: asker.idle)
        assert asker.want(seen(tick))
    until(lambda: len(used) == 5)
    assert used == [0] * 5
    asker.close()


def test_a_slow_server_is_asked_one_request_at_a_time_and_a_slow_network_is_not():
    def asked_in(seconds: float, server: float) -> int:
        """Requests in 1.5 s when each takes ``seconds``, of which the server says it needed ``server``."""
        count = 0

        def ask(observation: Observation) -> Reply:
            time.sleep(seconds)
            return Reply(np.zeros((2, 7)), server)

        asker = Asker(ask, ask, ask)
        asker.want(seen(0))
        until(lambda: len(asker.take()) == 1)
        ends = time.monotonic() + 1.5
        while time.monotonic() < ends:
            count += asker.want(seen(count))
            time.sleep(0.01)
        asker.close()
        return count

    assert asked_in(0.3, server=0.3) <= 5
    assert asked_in(0.3, server=0.02) >= 10


def test_a_request_that_takes_twice_as_long_as_the_last_is_overdue():
    seconds = [0.1]

    def ask(observation: Observation) -> np.ndarray:
        time.sleep(seconds[0])
        return np.zeros((2, 7))

    asker = Asker(ask, ask)
    asker.want(seen(0))
    assert not asker.overdue  # nothing is known yet
    until(lambda: asker.idle)
    seconds[0] = 1.0
    asked_at = time.monotonic()
    asker.want(seen(1))
    assert not asker.overdue
    until(lambda: asker.overdue)
    assert 0.2 <= time.monotonic() - asked_at < 0.8
    asker.want(seen(2))
    assert not asker.overdue  # the newer one is not
    asker.close()


def test_an_error_is_an_answer():
    def ask(observation: Observation) -> np.ndarray:
        raise TimeoutError("no answer")

    asker = Asker(ask)
    asker.want(seen(0))
    answers = []
    until(lambda: answers.extend(asker.take()) or answers)
    assert answers[0].chunk is None
    assert answers[0].error == "TimeoutError: no answer"
    asker.close()
