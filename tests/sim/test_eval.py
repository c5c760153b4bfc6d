"""The evaluation command and its runner, with real LIBERO episodes cut short."""

import json
import multiprocessing
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from policy.interface import Text
from sim import eval as evaluation
from sim.evaluation import worker
from sim.evaluation.results import Results
from sim.evaluation.runner import Queue, run_episodes
from sim.evaluation.worker import Failure, Job, Rules
from sim.libero.selection import parse_suites, parse_tasks

SHORT = Rules(max_steps=5, settle_steps=1, replan=2, image_size=32)


class HoldStill:
    """A policy that keeps the arm where it is; remembers how it was asked."""

    views = ("eye_in_hand", "agentview")
    image_size = (32, 32)
    action_horizon = 4

    def __init__(self) -> None:
        self.batches: list[tuple[tuple[int, ...], tuple[int, ...], tuple[str, ...]]] = []

    def act(self, images: np.ndarray, proprio: np.ndarray | None, text: Text) -> np.ndarray:
        assert proprio is not None
        self.batches.append((images.shape, proprio.shape, tuple(text)))
        return np.zeros((len(text), self.action_horizon, 7), np.float32)

    def predict_codes(self, images: np.ndarray, text: Text) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(text), 15), np.int64), np.zeros((len(text), 15, 1), np.float32)

    def predict_traj(self, images: np.ndarray, init_queries: np.ndarray, text: Text) -> np.ndarray:
        return np.repeat(init_queries, 16, axis=2)

    def describe(self) -> dict[str, Any]:
        return {"name": "hold still", "hash": "0"}


class KillsAWorkerOnce(HoldStill):
    """Kills the worker that asks first, as the kernel does when memory is short."""

    def act(self, images: np.ndarray, proprio: np.ndarray | None, text: Text) -> np.ndarray:
        if not self.batches:
            multiprocessing.active_children()[0].kill()
        return super().act(images, proprio, text)


def save_untrained_bundle(path: Path) -> None:
    """A whole AMPLIFY policy of the smallest size, with random weights."""
    from policy.amplify import Amplify
    from policy.bundle import save_bundle
    from policy.forward_dynamics import ForwardConfig
    from policy.inverse_dynamics import InverseConfig
    from policy.text import TextConfig
    from policy.vision import VisionConfig
    from tokenizer.tracks.model import TokenizerConfig

    eyes = VisionConfig(name="small", image_size=64, embed_dim=16, channels=(8, 8, 8, 8), keypoints=4)
    words = TextConfig(name="words", buckets=64, width=16, num_heads=2)
    tokenizer = TokenizerConfig(num_tracks=4, hidden_dim=16, num_heads=2, codebook_size=64, decoder_mlp_hidden_dim=8)
    forward = ForwardConfig(num_layers=1, num_heads=2, vision_encoder=eyes, text_encoder=words)
    inverse = InverseConfig(num_layers=1, num_heads=2, vision_encoder=eyes, text_encoder=words)
    save_bundle(Amplify(tokenizer, forward, inverse, name="untrained"), path)


def test_suites_are_read_from_lists_and_all():
    assert parse_suites(["libero_10,libero_goal", "libero_10"]) == ["libero_10", "libero_goal"]
    assert len(parse_suites(["all"])) == 5


def test_tasks_are_read_from_numbers_and_ranges():
    assert parse_tasks("0,5", "libero_10") == [0, 5]
    assert parse_tasks("7-9,1", "libero_10") == [1, 7, 8, 9]
    assert parse_tasks(None, "libero_90") == list(range(90))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "libero_11"], "unknown suite 'libero_11'; the suites are libero_spatial"),
        (["--tasks", "0,10"], "libero_10, which has tasks 0 to 9: 0 put both"),
        (["--tasks", "one"], "cannot read --tasks 'one'"),
        (["--tasks", "5-2"], "--tasks 5-2 is not in libero_10"),
        (["--workers", "0"], "--workers: '0' is not a whole number above 0"),
        (["--episodes", "-3"], "--episodes"),
        (["--replan", "4", "--ensemble"], "not allowed with"),
        (["--policy", "random"], "unknown --policy 'random'"),
        (["--unheard-of"], "unrecognized arguments"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(arguments: list[str], message: str):
    with pytest.raises(UserError) as caught:
        evaluation.main(arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_bundle_or_missing_assets_are_named(libero_assets: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"no bundle at .*absent.safetensors"):
        evaluation.main(["--checkpoint", str(tmp_path / "absent.safetensors"), "--assets", str(libero_assets)])
    with pytest.raises(UserError, match="not a folder of LIBERO assets"):
        evaluation.main(["--policy", "expert", "--assets", str(tmp_path)])


def test_a_killed_worker_is_replaced_and_every_episode_is_played(
    libero_assets: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    policy = KillsAWorkerOnce()
    rules = Rules(
        max_steps=5, settle_steps=1, replan=2, image_size=32, views=policy.views, video="all", video_folder=tmp_path,
        assets=str(libero_assets),
    )  # fmt: skip
    jobs = [Job("libero_object", 0, number, seed=number) for number in range(3)]
    episodes = sorted(run_episodes(jobs, rules, workers=2, policy=policy), key=lambda episode: episode.key)
    assert [(e.init_state, e.steps, e.success, e.error) for e in episodes] == [(n, 5, False, None) for n in range(3)]
    assert "broke, trying it once more: the worker process died" in caplog.text
    images, proprio, text = policy.batches[-1]
    assert images[1:] == (2, 32, 32, 3)
    assert proprio[1:] == (9,)
    assert text[0] == "pick up the alphabet soup and place it in the basket"
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"libero_object-task00-episode{number:03d}-failure.mp4" for number in range(3)]


def test_the_command_writes_results_and_continues_them(libero_assets: Path, tmp_path: Path, capsys):
    command = [
        "--policy",
        "expert",
        "--suite",
        "libero_object",
        "--tasks",
        "0",
        "--max-steps",
        "4",
        "--out",
        str(tmp_path),
    ]
    command += ["--assets", str(libero_assets), "--workers", "1"]
    assert evaluation.main([*command, "--episodes", "1"]) == 0
    first = Results.load(tmp_path / "results.json")
    assert evaluation.main([*command, "--episodes", "2"]) == 0
    second = json.loads((tmp_path / "results.json").read_text())
    assert [episode["init_state"] for episode in second["episodes"]] == [0, 1]
    assert second["episodes"][0]["wall_time_s"] == first.episodes["libero_object", 0, 0].wall_time_s
    assert {"python", "mujoco", "robosuite", "numpy", "gymnasium"} <= second["versions"].keys()
    assert "1 episodes on 1 workers" in capsys.readouterr().out


def test_a_bundle_acts_from_images_and_instruction(libero_assets: Path, tmp_path: Path, capsys):
    bundle = tmp_path / "untrained.safetensors"
    save_untrained_bundle(bundle)
    command = ["--checkpoint", str(bundle), "--tasks", "5", "--episodes", "1", "--max-steps", "4", "--replan", "2"]
    command += ["--assets", str(libero_assets), "--out", str(tmp_path / "out"), "--blank-codes"]
    assert evaluation.main(command) == 0
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["policy"]["name"] == "untrained"
    assert content["settings"]["policy"].startswith("untrained ")
    assert content["settings"]["execution"] == "open loop, 2 steps"
    assert content["settings"]["blank_codes"]
    assert content["episodes"][0]["task_name"].startswith("STUDY_SCENE1_pick_up_the_book")
    assert "results: " in capsys.readouterr().out
    with pytest.raises(UserError, match="--replan 17 is more than the 16 actions"):
        evaluation.main([*command, "--replan", "17"])
    with pytest.raises(UserError, match="was made with blank_codes = True, this run has False"):
        evaluation.main(command[:-1])


def test_an_exception_in_an_environment_is_reported_with_its_traceback(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("the arm exploded")

    monkeypatch.setattr(worker, "_environment", broken)
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    ours, theirs = multiprocessing.Pipe()
    thread = threading.Thread(target=worker.work, args=(theirs, SHORT, None))
    thread.start()
    ours.send(Job("libero_10", 0, 0, seed=0))
    failure = ours.recv()
    thread.join(timeout=10)
    assert isinstance(failure, Failure)
    assert "ZeroDivisionError: the arm exploded" in failure.message


def test_a_broken_episode_is_tried_twice_and_then_recorded_as_an_error():
    job = Job("libero_10", 0, 3, seed=3)
    queue = Queue([job])
    assert queue.next(None, []) == job
    assert queue.retry_or_give_up(job, Failure("first", user_error=False)) is None
    assert queue.next(None, []) == job
    episode = queue.retry_or_give_up(job, Failure("second", user_error=False))
    assert episode is not None
    assert (episode.error, episode.success, episode.init_state) == ("second", False, 3)
    assert queue.next(None, []) is None


def test_workers_keep_their_task_and_then_go_where_most_episodes_wait():
    jobs = [Job("libero_10", task, number, seed=0) for task, count in ((0, 2), (1, 4)) for number in range(count)]
    queue = Queue(jobs)
    zero, one = ("libero_10", 0), ("libero_10", 1)
    first = queue.next(None, [None, None])
    second = queue.next(None, [one, None])
    assert first is not None
    assert second is not None
    assert (first.task, second.task) == (1, 0)
    own = queue.next(zero, [one, zero])
    assert own is not None
    assert own.task == 0
    other = queue.next(zero, [one, zero])
    assert other is not None
    assert other.task == 1
