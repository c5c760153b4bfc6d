"""Suites and tasks as command lines name them."""

from sim.libero.selection import parse_suites, parse_tasks


def test_suites_are_read_from_lists_and_all():
    assert parse_suites(["libero_10,libero_goal", "libero_10"]) == ["libero_10", "libero_goal"]
    assert len(parse_suites(["all"])) == 5
    standard = ["libero_spatial", "libero_object", "libero_goal", "libero_10"]
    assert parse_suites(["standard"]) == standard
    assert parse_suites(["libero_90,standard", "libero_goal"]) == ["libero_90", *standard]


def test_tasks_are_read_from_numbers_and_ranges():
    assert parse_tasks("0,5", "libero_10") == [0, 5]
    assert parse_tasks("7-9,1", "libero_10") == [1, 7, 8, 9]
    assert parse_tasks(None, "libero_90") == list(range(90))
