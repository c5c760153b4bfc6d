"""Tables of an evaluation's page: success of suites and tasks, and two evaluations episode by episode."""

import dataclasses
from collections.abc import Sequence

from demos.language import language_of
from sim.evaluation.comparison import compare, paired
from sim.evaluation.results import EpisodeResult, Results, Score
from sim.report import page_elements
from sim.report.page_elements import escape

COLUMNS = ("task", "success, with 95 % interval", "rate", "95 %", "episodes", "steps", "time")


def scores(results: Sequence[Results], names: Sequence[str]) -> str:
    """The section of success rates: an average over suites where there are several, each suite, each task."""
    suites = sorted({suite for result in results for suite, _, _ in result.episodes})
    tasks = sorted({task for result in results for task in result.tasks()})
    rows = []
    if len(suites) > 1:
        rows.append(("average", _average_cells(suites, results)))
    for suite in suites:
        rows.append(("suite", _score_cells(suite, None, results)))
        rows += [("", _score_cells(of, task, results, name)) for of, task, name in tasks if of == suite]
    bars = [("rate", names[0] if len(names) == 2 else "success rate")]
    bars += [("rate second", names[1])] if len(names) == 2 else []
    legend = page_elements.legend([*bars, ("interval", "95 % interval")])
    content = page_elements.table(COLUMNS, rows, numbers=range(2, 7), wide=(1,))
    return f'<section id="scores" aria-label="Scores"><h2>Success</h2>{legend}{content}</section>'


def _average_cells(suites: Sequence[str], results: Sequence[Results]) -> list[str]:
    columns: list[list[str]] = []
    for number, result in enumerate(results):
        rates = [rate for suite in suites if (rate := result.score(suite).rate) is not None]
        if len(rates) < len(suites):
            columns.append(["not all suites", "-", "", "-", "", ""])
            continue
        average, whole = sum(rates) / len(rates), Score.of(result.episodes.values())
        count = f"{whole.successes} of {whole.episodes}"
        columns.append([page_elements.bar(average, second=number == 1), f"{average:.1%}", "", count, "", ""])
    return [f"average over {len(suites)} suites", *_side_by_side(columns)]


def _score_cells(suite: str, task: int | None, results: Sequence[Results], name: str = "") -> list[str]:
    """Of each evaluation: bar, rate, interval, episodes, steps, time."""
    label = escape(suite) if task is None else f"{task} {escape(language_of(name))}"
    columns: list[list[str]] = []
    for number, result in enumerate(results):
        chosen = [e for e in result.episodes.values() if e.suite == suite and task in (None, e.task)]
        score = Score.of(chosen)
        if score.rate is None or score.mean_steps is None:
            columns.append(["no episodes", "-", "-", "-", "-", "-"])
            continue
        low, high = score.interval
        broke = f" <span class='odd'>({score.errors} broke)</span>" if score.errors else ""
        time = sum(episode.wall_time_s for episode in chosen) / len(chosen)
        columns.append(
            [
                page_elements.bar(score.rate, score.interval, second=number == 1),
                f"{score.rate:.1%}",
                f"{low:.0%} to {high:.0%}",
                f"{score.successes} of {score.episodes}{broke}",
                f"{score.mean_steps:.0f}",
                f"{time:.1f} s",
            ]
        )
    return [label, *_side_by_side(columns)]


def _side_by_side(columns: Sequence[Sequence[str]]) -> list[str]:
    """Cells that hold the values of all evaluations, one below the other; the first of each is a bar."""
    bars, *others = zip(*columns, strict=True)
    return ["".join(bars), *("<br>".join(cells) for cells in others)]


def comparison(first: Results, second: Results, names: Sequence[str]) -> str:
    """The section that counts how pairs of the same episode ended, with a sign test."""
    heading = '<section id="comparison" aria-label="Comparison"><h2>Comparison, episode by episode</h2>'
    pairs = paired(first, second)
    if not pairs:
        return f"{heading}<p>No episode was played by both from the same initial state.</p></section>"
    groups = [("suite", "all", pairs)]
    for suite, task, name in sorted({(a.suite, a.task, a.task_name) for a, _ in pairs}):
        chosen = [(a, b) for a, b in pairs if (a.suite, a.task) == (suite, task)]
        groups.append(("", f"{suite} {task} {language_of(name)}", chosen))
    headings = ["task", "pairs", "both succeed", f"only {names[0]}", f"only {names[1]}", "neither", "p"]
    rows = [(kind, _pair_cells(label, chosen)) for kind, label, chosen in groups]
    whole = compare(pairs)
    if whole.p_value < 0.05:
        better = names[0] if whole.only_first > whole.only_second else names[1]
        verdict = f"hardly chance: <strong>{escape(better)}</strong> is better"
    else:
        verdict = "no difference can be told from chance"
    differing = whole.only_first + whole.only_second
    return (
        f"{heading}<p>{whole.pairs} pairs with the same initial state; {differing} end differently, {whole.only_first} "
        f"for {escape(names[0])} and {whole.only_second} for {escape(names[1])}. Sign test: p = {whole.p_value:.3f}, "
        f"{verdict}.</p>{_other_differences(first, second)}"
        f"{page_elements.table(headings, rows, numbers=range(1, 7))}</section>"
    )


def _pair_cells(label: str, pairs: list[tuple[EpisodeResult, EpisodeResult]]) -> list[str]:
    c = compare(pairs)
    counts = (c.pairs, c.both, c.only_first, c.only_second, c.neither)
    return [escape(label), *map(str, counts), f"{c.p_value:.3f}"]


def _other_differences(first: Results, second: Results) -> str:
    """What differs beside the policy, and may be the reason for other ends."""
    pairs = [
        (setting.name, getattr(first.settings, setting.name), getattr(second.settings, setting.name))
        for setting in dataclasses.fields(first.settings)
        if setting.name != "policy"
    ]
    differences = [f"{escape(name)} ({escape(a)} and {escape(b)})" for name, a, b in pairs if a != b]
    return f'<p class="odd">They also differ in {", ".join(differences)}.</p>' if differences else ""
