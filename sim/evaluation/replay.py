"""The command that plays one episode of an evaluation again, made of nothing but its results."""

import shlex
from itertools import pairwise

from sim.evaluation.results import EpisodeResult, Results

_PLACES = ("--policy", "--checkpoint", "--assets")
"""Options that say where something is; settings hold only what it was, by name and hash."""


def replay_command(results: Results, episode: EpisodeResult) -> str:
    """The ``sim.eval`` command that plays this very episode again and films it."""
    options = results.context.get("replay")
    if options is None:
        options = _options_of_settings(results)
    chosen = ["--suite", episode.suite, "--tasks", str(episode.task), "--first", str(episode.episode)]
    return shlex.join(["python", "-m", "sim.eval", *options, *chosen, "--episodes", "1", "--report"])


def _options_of_settings(results: Results) -> list[str]:
    """For results written before they kept ``replay``: what settings say, and of the command where things are."""
    settings, words = results.settings, shlex.split(results.context.get("command", ""))
    options: list[str] = []
    for name in _PLACES:
        for word, following in pairwise([*words, ""]):
            if word == name:
                options += [name, following]
            elif word.startswith(f"{name}="):
                options += [name, word.removeprefix(f"{name}=")]
    if settings.policy == "expert" and "--policy" not in options:
        options += ["--policy", "expert"]
    if settings.execution == "temporal ensembling":
        options.append("--ensemble")
    elif settings.execution.startswith("open loop, "):
        options += ["--replan", settings.execution.split()[2]]
    if settings.blank_codes:
        options.append("--blank-codes")
    if settings.ar_sampling != "argmax":
        options += ["--ar-sampling", settings.ar_sampling, "--temperature", f"{settings.temperature:g}"]
    if settings.max_steps is not None:
        options += ["--max-steps", str(settings.max_steps)]
    options += ["--settle-steps", str(settings.settle_steps), "--seed", str(settings.seed)]
    return [*options, "--fast-render" if settings.fast_render else "--no-fast-render"]
