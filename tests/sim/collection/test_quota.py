"""Which episode of a collection comes next."""

from sim.collection.quota import MAX_FAILURES_IN_A_ROW, Quota, next_quota
from sim.collection.recording import Outcome
from sim.libero import benchmark


def quota(task: int, done: int = 0, wanted: int = 5) -> Quota:
    return Quota(benchmark.task("libero_object", task), wanted, done, next_seed=0)


def test_a_task_is_given_up_after_too_many_failures_in_a_row():
    hard = quota(0)
    for _ in range(MAX_FAILURES_IN_A_ROW - 1):
        hard.record(Outcome(success=False, steps=0, seconds=1.0))
    assert hard.open
    hard.record(Outcome(success=True, steps=90, seconds=1.0))
    assert (hard.done, hard.failures, hard.failures_in_a_row) == (1, MAX_FAILURES_IN_A_ROW - 1, 0)
    for _ in range(MAX_FAILURES_IN_A_ROW):
        hard.record(Outcome(success=False, steps=0, seconds=1.0))
    assert not hard.open


def test_episodes_under_way_count_until_they_end():
    almost = quota(0, done=4)
    assert almost.open
    almost.in_flight = 1
    assert not almost.open


def test_a_worker_stays_with_its_task_and_then_takes_the_one_furthest_behind_that_nobody_is_at():
    first, second, third = quota(0, done=1), quota(1, done=3), quota(2, done=2)
    everything = [first, second, third]
    assert next_quota(everything, {0: second, 1: None}, worker=0) is second
    assert next_quota(everything, {0: None, 1: None}, worker=0) is first
    assert next_quota(everything, {0: None, 1: first}, worker=0) is third
    second.done = second.wanted
    assert next_quota(everything, {0: second, 1: first}, worker=0) is third
    assert next_quota([second], {0: second, 1: None}, worker=0) is None
