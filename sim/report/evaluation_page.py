"""The page of an evaluation, or of two side by side: scores, and every episode with its film and predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.conventions import CONTROL_FREQUENCY, VIEWS
from common.errors import UserError
from common.files import replacing
from demos.language import language_of
from sim.evaluation.replay import replay_command
from sim.evaluation.results import Results
from sim.evaluation.worker import STEPS_PER_FRAME
from sim.report import page_elements
from sim.report.episode_files import Key, share_files
from sim.report.evaluation_header import header
from sim.report.page_elements import escape
from sim.report.score_tables import comparison, scores

OUTCOMES = (("good", "success"), ("bad", "failure"), ("odd", "broke twice, in no rate"))


def write_evaluation(results: Sequence[Results], folder: Path) -> Path:
    """Write the page of one evaluation, or of two side by side, with copies of their films; returns index.html.

    Films and posters are looked for beside each results file, as ``sim.eval`` writes them. What is up to date in
    ``folder`` stays.
    """
    if not any(result.episodes for result in results):
        raise UserError(f"{results[0].path} has no episodes yet")
    names = run_names(results)
    files = share_files(results, folder)
    data = {
        "runs": names,
        "episodes": _episodes(results, files),
        "control_frequency": CONTROL_FREQUENCY,
        "frames_per_second": CONTROL_FREQUENCY / STEPS_PER_FRAME,
        "steps_per_frame": STEPS_PER_FRAME,
        "columns": len(VIEWS),
        "view_columns": _view_columns(results),
    }
    body = [scores(results, names)]
    if len(results) == 2:
        body.append(comparison(results[0], results[1], names))
    body.append(_browser(results, names))
    title = "Evaluation of " + " and ".join(names)
    text = page_elements.page(title, header(results, names), "\n".join(body), data, ("episodes", "player"))
    with replacing(folder / "index.html") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return folder / "index.html"


def run_names(results: Sequence[Results]) -> list[str]:
    """A short name for each evaluation: its policy's, or its folder's where two policies have the same name."""
    names = [result.context.get("policy", {}).get("name") or result.settings.policy for result in results]
    if len(set(names)) < len(names):
        names = [result.path.resolve().parent.name for result in results]
    return names if len(set(names)) == len(names) else [f"{name} ({letter})" for name, letter in zip(names, "AB")]  # noqa: B905


def _episodes(results: Sequence[Results], files: Mapping[tuple[int, Key], dict[str, str]]) -> list[dict[str, Any]]:
    """What the page shows of each episode, by suite and task, and there what is worth looking at first."""
    episodes: list[dict[str, Any]] = []
    for key in sorted({key for result in results for key in result.episodes}):
        suite, task, number = key
        name = next(result.episodes[key].task_name for result in results if key in result.episodes)
        runs = [_run(result, key, files.get((place, key), {})) for place, result in enumerate(results)]
        episodes.append({"suite": suite, "task": task, "episode": number, "language": language_of(name), "runs": runs})
    episodes.sort(key=lambda episode: (episode["suite"], episode["task"], _interest(episode["runs"])))
    return episodes


def _run(result: Results, key: Key, files: dict[str, str]) -> dict[str, Any] | None:
    """What one evaluation did in an episode, if it has played it."""
    episode = result.episodes.get(key)
    if episode is None:
        return None
    return files | {
        "outcome": "error" if episode.error else "success" if episode.success else "failure",
        "steps": episode.steps,
        "wall_time_s": episode.wall_time_s,
        "seed": episode.seed,
        "init_state": episode.init_state,
        "error": episode.error,
        "command": replay_command(result, episode),
    }


def _interest(runs: Sequence[dict[str, Any] | None]) -> int:
    """What is worth looking at comes first: pairs that differ, then what failed, what broke, and successes."""
    outcomes = [run["outcome"] for run in runs if run]
    differs = len(outcomes) == 2 and len(set(outcomes)) == 2
    return 0 if differs else 1 if "failure" in outcomes else 2 if "error" in outcomes else 3


def _view_columns(results: Sequence[Results]) -> list[int]:
    """Where the policy's views are in the films, which show all views side by side."""
    views = next((r.context["policy"]["views"] for r in results if r.context.get("policy", {}).get("views")), VIEWS)
    return [VIEWS.index(view) for view in views]


def _browser(results: Sequence[Results], names: Sequence[str]) -> str:
    """Filters, the groups of episodes, which the script fills, and the player."""
    outcomes = {"all": "all", "failure": "failures", "success": "successes", "error": "broken"}
    if len(results) == 2:
        outcomes |= {
            "differ": "different ends",
            "first": f"only {names[0]} succeeds",
            "second": f"only {names[1]} succeeds",
        }
    tasks = sorted({task for result in results for task in result.tasks()})
    suites = sorted({suite for suite, _, _ in tasks})
    places = {"": "all"} | {suite: suite for suite in suites}
    places |= {f"{suite} {task}": f"{suite} {task} {language_of(name)}" for suite, task, name in tasks}
    return f"""<section aria-label="Episodes"><h2>Episodes</h2>
<div class="filters">
<label>search <input id="search" type="search" placeholder="words, e.g. drawer failure" autocomplete="off"></label>
<label>outcome <select id="outcome">{_options(outcomes)}</select></label>
<label>task <select id="task">{_options(places)}</select></label>
<button id="unfold" type="button">Unfold all</button>
<span id="count" class="faint" role="status"></span>
</div>
{page_elements.legend(OUTCOMES)}
<noscript>The episodes need JavaScript.</noscript>
<div id="groups"></div></section>
<dialog id="player" aria-labelledby="name">
<div class="top"><h2 id="name"></h2><button id="close" type="button">Close</button></div>
<div id="players" class="runs" tabindex="-1"></div>
<div id="controls" class="controls">
<button id="toggle" type="button">Play</button>
<input id="step" type="range" min="0" value="0" aria-label="step">
<output id="now"></output>
</div>
<p id="overlaid" class="controls"><label><input id="overlay" type="checkbox" checked> predicted motion</label>
<span class="faint">now <span class="ramp" role="img" aria-label="from yellow to violet"></span> 16 steps on</span></p>
<p class="controls"><button id="previous" type="button">Previous</button><button id="next" type="button">Next</button>
<span class="faint">Keys: space plays, arrows step, n and p go on and back, Esc closes</span></p>
</dialog>"""


def _options(choices: Mapping[str, str]) -> str:
    return "".join(f'<option value="{escape(value)}">{escape(label)}</option>' for value, label in choices.items())
