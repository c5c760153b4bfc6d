"""Which suites and tasks a command line names."""

from common.errors import UserError
from sim.libero import benchmark
from sim.suites import STANDARD, SUITES


def parse_suites(names: list[str]) -> list[str]:
    """Suites from ``["libero_10,libero_goal", "libero_object"]``, in order, each once.

    ``standard`` stands for the four that policies are compared on, ``all`` for all five.

    Raises:
        UserError: there is no such suite.
    """
    listed = [name.strip() for part in names for name in part.split(",") if name.strip()]
    groups = {"standard": STANDARD, "all": SUITES}
    suites = list(dict.fromkeys(suite for name in listed for suite in groups.get(name, (name,))))
    for suite in suites:
        if suite not in SUITES:
            raise UserError(f"unknown suite {suite!r}; the suites are {', '.join(SUITES)}, or 'standard', or 'all'")
    if not suites:
        raise UserError("--suite names no suite")
    return suites


def parse_tasks(text: str | None, suite: str) -> list[int]:
    """Task numbers of a suite from ``"0,5"`` or ``"0-4,9"``; all without a text.

    Raises:
        UserError: not a list of numbers, or a number that the suite does not have.
    """
    count = len(benchmark.tasks(suite))
    if text is None:
        return list(range(count))
    chosen: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UserError(f"cannot read --tasks {text!r}; write numbers and ranges, e.g. 0,5 or 0-4")
        if dash and int(last) < int(first):
            raise UserError(f"--tasks {text} has the range {part.strip()}, which runs backwards; write {last}-{first}")
        chosen.update(range(int(first), int(last or first) + 1))
    if not chosen or max(chosen) >= count:
        known = "; ".join(f"{task.index} {task.language}" for task in benchmark.tasks(suite)[:10])
        raise UserError(
            f"--tasks {text} is not in {suite}, which has tasks 0 to {count - 1}: {known}{' ...' if count > 10 else ''}"
        )
    return sorted(chosen)
