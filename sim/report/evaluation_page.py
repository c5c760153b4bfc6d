"""The page of an evaluation, or of two side by side: scores, bars, and every episode with its video and predictions."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from common.conventions import CONTROL_FREQUENCY, VIEWS
from common.errors import UserError
from common.files import replacing
from demos.language import language_of
from sim.evaluation.comparison import compare, paired
from sim.evaluation.prediction_log import PredictedTracks, tracks_path
from sim.evaluation.replay import replay_command
from sim.evaluation.results import Results, Score
from sim.evaluation.worker import STEPS_PER_FRAME, video_path
from sim.report import page_elements
from sim.report.page_elements import escape


def write_evaluation(results: Sequence[Results], folder: Path) -> Path:
    """Write the page of one evaluation, or of two side by side, with copies of their videos; returns index.html.

    Videos are looked for in ``videos`` beside each results file, as ``sim.eval`` writes them.
    """
    if not any(result.episodes for result in results):
        raise UserError(f"{results[0].path} has no episodes yet")
    for name in ("videos", "posters", "tracks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = run_names(results)
    keys = sorted({key for result in results for key in result.episodes})
    episodes = [
        _episode_data(
            key, [_run_data(result, key, folder, number) for number, result in enumerate(results)], number, results
        )
        for number, key in enumerate(keys)
    ]
    episodes.sort(key=_interest)
    data = {
        "runs": names,
        "episodes": episodes,
        "control_frequency": CONTROL_FREQUENCY,
        "frames_per_second": CONTROL_FREQUENCY / STEPS_PER_FRAME,
        "steps_per_frame": STEPS_PER_FRAME,
        "columns": len(VIEWS),
        "view_columns": _view_columns(results),
    }
    title = "Evaluation of " + " and ".join(names)
    body = [_scores(results, names)]
    if len(results) == 2:
        body.append(_comparison(results[0], results[1], names))
    body.append(_browser(results))
    with replacing(folder / "index.html") as temporary:
        temporary.write_text(page_elements.page(title, _about(results, names), "\n".join(body), data), encoding="utf-8")
    return folder / "index.html"


def run_names(results: Sequence[Results]) -> list[str]:
    """A short name for each evaluation: its policy's, or its folder's where two policies have the same name."""
    names = [result.context.get("policy", {}).get("name") or result.settings.policy for result in results]
    if len(set(names)) < len(names):
        names = [result.path.resolve().parent.name for result in results]
    return names if len(set(names)) == len(names) else [f"{name} ({letter})" for name, letter in zip(names, "AB")]  # noqa: B905


def _run_data(result: Results, key: tuple[str, int, int], folder: Path, number: int) -> dict[str, Any] | None:
    """What the page shows of one episode of one evaluation; its files are copied into ``folder``."""
    episode = result.episodes.get(key)
    if episode is None:
        return None
    data = {
        "outcome": "error" if episode.error else "success" if episode.success else "failure",
        "steps": episode.steps,
        "wall_time_s": episode.wall_time_s,
        "seed": episode.seed,
        "init_state": episode.init_state,
        "error": episode.error,
        "command": replay_command(result, episode),
    }
    video = video_path(result.path.parent / "videos", key, episode.success)
    if video.exists() and not episode.error:
        stem = f"{'ab'[number]}-{video.stem}"
        _share(video, folder / "videos" / f"{stem}.mp4")
        data["video"] = f"videos/{stem}.mp4"
        if _save_poster(video, folder / "posters" / f"{stem}.jpg"):
            data["poster"] = f"posters/{stem}.jpg"
        if tracks_path(video).exists():
            name = f"tracks/{stem}.js"
            with replacing(folder / name) as temporary:
                temporary.write_text(PredictedTracks.load(tracks_path(video)).script(name))
            data["tracks"] = name
    return data


def _episode_data(
    key: tuple[str, int, int], runs: list[dict[str, Any] | None], number: int, results: Sequence[Results]
) -> dict[str, Any]:
    suite, task, episode = key
    name = next(result.episodes[key].task_name for result in results if key in result.episodes)
    language = language_of(name)
    return {"id": number, "suite": suite, "task": task, "episode": episode, "language": language, "runs": runs}


def _interest(episode: dict[str, Any]) -> tuple[int, str, int, int]:
    """What is worth looking at comes first: pairs that differ, then what failed, what broke, and successes."""
    outcomes = [run["outcome"] for run in episode["runs"] if run]
    differs = len(outcomes) == 2 and len(set(outcomes)) == 2
    rank = 0 if differs else 1 if "failure" in outcomes else 2 if "error" in outcomes else 3
    return rank, episode["suite"], episode["task"], episode["episode"]


def _view_columns(results: Sequence[Results]) -> list[int]:
    """Where the policy's views are in the films, which show all views side by side."""
    views = next((r.context["policy"]["views"] for r in results if r.context.get("policy", {}).get("views")), VIEWS)
    return [VIEWS.index(view) for view in views]


def _share(source: Path, target: Path) -> None:
    """The same file at another place, without taking its room twice where the disk allows it."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _save_poster(video: Path, target: Path) -> bool:
    """The last frame of a video as JPEG: how it ended. False for a video that cannot be read."""
    capture = cv2.VideoCapture(str(video))
    try:
        frame = None
        while capture.grab():
            _, frame = capture.retrieve()
        if frame is None:
            return False
        _, encoded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 85])
        with replacing(target) as temporary:
            temporary.write_bytes(encoded.tobytes())
        return True
    finally:
        capture.release()


def _about(results: Sequence[Results], names: Sequence[str]) -> str:
    parts = []
    for result, name in zip(results, names, strict=True):
        settings, context = result.settings, result.context
        line = f"<strong>{escape(name)}</strong>: {escape(settings.policy)}, {escape(settings.execution)}"
        if settings.blank_codes:
            line += ", motion codes hidden"
        versions = ", ".join(f"{package} {version}" for package, version in context.get("versions", {}).items())
        assets = context.get("assets", {})
        details = [
            f"<code>{escape(context.get('command', ''))}</code>",
            f"assets: {escape(assets.get('source', ''))} {escape(assets.get('digest', ''))}",
            escape(versions),
        ]
        paragraphs = "".join(f"<p>{detail}</p>" for detail in details)
        parts.append(f"<p>{line}</p><details><summary>How it was made</summary>{paragraphs}</details>")
    return "\n".join(parts)


def _scores(results: Sequence[Results], names: Sequence[str]) -> str:
    rows = []
    suites = sorted({suite for result in results for suite, _, _ in result.episodes})
    tasks = sorted({task for result in results for task in result.tasks()})
    for suite in suites:
        rows.append(("suite", _score_cells(suite, None, results)))
        rows += [("", _score_cells(of, task, results, name)) for of, task, name in tasks if of == suite]
    headings = ["task", "success, with 95 % interval", "rate", "95 %", "episodes", "steps", "time"]
    legend = ""
    if len(names) == 2:
        legend = f"<p class='faint'>Upper bar and number: {escape(names[0])}; lower: {escape(names[1])}</p>"
    content = page_elements.table(headings, rows, numbers=range(2, 7)).replace("<td><svg", '<td class="bars"><svg')
    return f'<section aria-label="Scores"><h2>Success</h2>{legend}{content}</section>'


def _score_cells(suite: str, task: int | None, results: Sequence[Results], name: str = "") -> list[str]:
    label = escape(suite) if task is None else f"{task} {escape(language_of(name))}"
    columns: list[list[str]] = []  # of each evaluation: bar, rate, interval, episodes, steps, time
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
    bars, *others = zip(*columns, strict=True)
    return [label, "".join(bars), *("<br>".join(cells) for cells in others)]


def _comparison(first: Results, second: Results, names: Sequence[str]) -> str:
    pairs = paired(first, second)
    if not pairs:
        return (
            '<section id="comparison"><h2>Comparison</h2><p>No episode was played by both from the same initial '
            "state.</p></section>"
        )
    groups = [("suite", "all", pairs)]
    for suite, task, name in sorted({(a.suite, a.task, a.task_name) for a, _ in pairs}):
        chosen = [(a, b) for a, b in pairs if (a.suite, a.task) == (suite, task)]
        groups.append(("", f"{suite} {task} {language_of(name)}", chosen))
    rows = []
    for kind, label, chosen in groups:
        c = compare(chosen)
        counts = (c.pairs, c.both, c.only_first, c.only_second, c.neither)
        rows.append((kind, [escape(label), *map(str, counts), f"{c.p_value:.3f}"]))
    whole = compare(pairs)
    if whole.p_value < 0.05:
        better = names[0] if whole.only_first > whole.only_second else names[1]
        verdict = f"hardly chance: <strong>{escape(better)}</strong> is better"
    else:
        verdict = "no difference can be told from chance"
    differing = whole.only_first + whole.only_second
    headings = ["task", "pairs", "both succeed", f"only {names[0]}", f"only {names[1]}", "neither", "p"]
    return (
        f'<section id="comparison" aria-label="Comparison"><h2>Comparison, episode by episode</h2>'
        f"<p>{whole.pairs} pairs with the same initial state; {differing} end differently, {whole.only_first} for "
        f"{escape(names[0])} and {whole.only_second} for {escape(names[1])}. Sign test: p = {whole.p_value:.3f}, "
        f"{verdict}.</p>{page_elements.table(headings, rows, numbers=range(1, 7))}</section>"
    )


def _browser(results: Sequence[Results]) -> str:
    """Filters, the grid, which the script fills, and the player."""
    outcomes = {"all": "all", "failure": "failures", "success": "successes", "error": "broken"}
    if len(results) == 2:
        names = run_names(results)
        outcomes |= {
            "differ": "different ends",
            "first": f"only {names[0]} succeeds",
            "second": f"only {names[1]} succeeds",
        }
    tasks = sorted({task for result in results for task in result.tasks()})
    chosen = "".join(f'<option value="{value}">{escape(label)}</option>' for value, label in outcomes.items())
    places = '<option value="">all</option>' + "".join(
        f'<option value="{escape(suite)}">{escape(suite)}</option>'
        for suite in sorted({suite for suite, _, _ in tasks})
    )
    places += "".join(
        f'<option value="{escape(suite)} {task}">{escape(suite)} {task} {escape(language_of(name))}</option>'
        for suite, task, name in tasks
    )
    return f"""<section aria-label="Episodes"><h2>Episodes</h2>
<div class="filters">
<label>outcome <select id="outcome">{chosen}</select></label>
<label>task <select id="task">{places}</select></label>
<span id="count" class="faint" role="status"></span>
</div>
<noscript>The episodes need JavaScript.</noscript>
<ul id="grid" class="grid"></ul></section>
<dialog id="player" aria-labelledby="name">
<div class="top"><h2 id="name"></h2><button id="close" type="button" aria-label="Close">Close</button></div>
<div id="players" class="runs"></div>
<div id="controls" class="controls">
<button id="toggle" type="button">Play</button>
<input id="step" type="range" min="0" value="0" aria-label="step">
<output id="now"></output>
<label id="overlaid"><input id="overlay" type="checkbox" checked> predicted motion</label>
</div>
<p class="controls"><button id="previous" type="button">Previous</button><button id="next" type="button">Next</button>
<span class="faint">Keys: space plays, n and p go on and back, arrows step, Esc closes</span></p>
</dialog>"""
