"""Every episode of a results file can be played again, also of a file from before it kept what that needs."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sim import eval as evaluation
from sim.evaluation.replay import replay_command
from sim.evaluation.results import EpisodeResult, EvaluationSettings, Results

SETTINGS = EvaluationSettings(
    policy="mine 0123", seed=7, execution="open loop, 4 steps", blank_codes=True, max_steps=60,
    settle_steps=5, fast_render=True, assets="0123", mujoco="3.3.2", robosuite="1.4.0",
)  # fmt: skip
EPISODE = EpisodeResult("libero_10", 3, "put_it_there", 12, 12, 19, False, 60, 1.5)
COMMAND = "python -m sim.eval --checkpoint 'my policy.safetensors' --assets=/data/libero --replan 4 --tasks 0-5"


def parsed(settings: EvaluationSettings, context: dict[str, Any]) -> Any:
    """What ``sim.eval`` understands of the command."""
    words = shlex.split(replay_command(Results(Path("results.json"), settings, context), EPISODE))
    assert words[:3] == ["python", "-m", "sim.eval"]
    return evaluation.parser().parse_args(words[3:])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--policy", "expert", "--max-steps", "9"],
        ["--policy", "tcp://127.0.0.1:5555", "--ensemble", "--no-fast-render"],
        ["--checkpoint", "my policy.safetensors", "--blank-codes", "--seed", "3", "--settle-steps", "0"],
        ["--assets", "a folder", "--replan", "2", "--fast-render"],
    ],
)
def test_what_an_evaluation_keeps_plays_one_episode_with_the_same_options(arguments: list[str]):
    options = evaluation.parser().parse_args(
        [*arguments, "--suite", "libero_goal", "--tasks", "0-5", "--episodes", "9"]
    )
    again = parsed(SETTINGS, {"replay": evaluation.replay_options(options)})
    chosen = {"suite": ["libero_10"], "tasks": "3", "first": 12, "episodes": 1, "report": True}
    assert vars(again) == vars(options) | chosen


def test_older_results_say_it_with_their_settings_and_where_their_command_found_things():
    again = parsed(SETTINGS, {"command": COMMAND})
    assert (again.suite, again.tasks, again.first, again.episodes) == (["libero_10"], "3", 12, 1)
    assert (again.checkpoint, again.assets) == (Path("my policy.safetensors"), Path("/data/libero"))
    assert (again.replan, again.ensemble, again.blank_codes, again.max_steps) == (4, False, True, 60)
    assert (again.settle_steps, again.seed, again.fast_render) == (5, 7, True)


def test_older_results_of_the_expert_and_of_ensembling_need_no_command():
    expert = parsed(replace(SETTINGS, policy="expert", execution="expert, every step", blank_codes=False), {})
    assert expert.policy == "expert"
    ensemble = parsed(replace(SETTINGS, execution="temporal ensembling", max_steps=None, fast_render=False), {})
    assert (ensemble.policy, ensemble.ensemble, ensemble.max_steps, ensemble.fast_render) == (
        "bundle",
        True,
        None,
        False,
    )
