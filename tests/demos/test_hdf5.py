"""Demonstration files: what goes in comes out, in our layout and in LIBERO's, and a killed writer spoils nothing."""

import doctest
import json
import multiprocessing
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import demos.hdf5
from demos.hdf5 import ARRAYS, DemoFileError, DemoReader, DemoWriter, Episode
from tests.demos.examples import HEADER, make_episode

ROOT = Path(__file__).parents[2]


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    return tmp_path / "libero_10" / "open_the_drawer_demo.hdf5"


def written(path: Path, episodes: int = 3) -> Path:
    writer = DemoWriter(path, HEADER)
    for seed in range(episodes):
        writer.append(make_episode(steps=4 + seed, seed=seed))
    return writer.finish()


def assert_equal(one: Episode, other: Episode) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_docstring_examples_hold() -> None:
    assert doctest.testmod(demos.hdf5).failed == 0


def test_an_episode_comes_back_as_it_was(task_file: Path) -> None:
    episode = make_episode(seed=3, noise=0.15, versions='{"mujoco": "3.3.2"}')
    writer = DemoWriter(task_file, HEADER)
    assert writer.append(episode) == 0
    with DemoReader(writer.finish()) as reader:
        assert len(reader) == 1
        assert_equal(reader[0], episode)
        assert reader[0].attributes["noise"] == 0.15
        assert reader[0].attributes["versions"] == '{"mujoco": "3.3.2"}'
        assert reader.language == "open the drawer"
        assert reader.episode(0, slice(1, 3)).proprio.tolist() == episode.proprio[1:3].tolist()


def test_images_lie_upside_down_on_disk_and_can_be_mapped(task_file: Path) -> None:
    images = make_episode(steps=5, seed=1).agentview_rgb
    with h5py.File(written(task_file)) as file:
        dataset = file["data/demo_1/obs/agentview_rgb"]
        assert dataset.chunks is None
        np.testing.assert_array_equal(dataset[:], images[:, ::-1])
    with DemoReader(task_file) as reader:
        mapped = reader.mapped(1, "agentview_rgb")
    assert mapped is not None
    np.testing.assert_array_equal(mapped, images)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 0


def test_robomimic_finds_what_it_reads(task_file: Path) -> None:
    with h5py.File(written(task_file)) as file:
        data = file["data"]
        env_args = json.loads(data.attrs["env_args"])
        assert env_args["type"] == 1
        assert env_args["env_name"] == "libero_floor_manipulation"
        assert env_args["env_kwargs"] == {"robots": ["Panda"], "camera_heights": 8}
        assert json.loads(data.attrs["problem_info"])["language_instruction"] == "open the drawer"
        assert data.attrs["bddl_file_name"] == HEADER.bddl_file_name
        assert (data.attrs["num_demos"], data.attrs["total"]) == (3, 4 + 5 + 6)
        for name in data:
            demo = data[name]
            assert demo.attrs["num_samples"] == len(demo["actions"])
            np.testing.assert_array_equal(demo.attrs["init_state"], demo["states"][0])
            np.testing.assert_array_equal(demo["obs/ee_states"][:, :3], demo["obs/ee_pos"])
            np.testing.assert_array_equal(demo["obs/ee_states"][:, 3:], demo["obs/ee_ori"])


def test_a_long_model_file_fits_in_the_attributes(task_file: Path) -> None:
    writer = DemoWriter(task_file, HEADER)
    writer.append(make_episode(model_file="<mujoco/>" * 50_000))
    with DemoReader(writer.finish()) as reader:
        assert len(reader[0].attributes["model_file"]) == 450_000


@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "chunks": True}, {"chunks": (1, 8, 6, 3)}])
def test_official_files_are_read_in_numeric_order(tmp_path: Path, options: dict) -> None:
    path = tmp_path / "KITCHEN_SCENE3_turn_on_the_stove_demo.hdf5"
    with h5py.File(path, "w", libver="earliest") as file:
        file.create_group("data").attrs["problem_info"] = json.dumps({"language_instruction": list("turn on")})
        for index in range(12):
            for name, array in ARRAYS.items():
                if array.optional:
                    continue
                values = getattr(make_episode(seed=index), name)
                if name.endswith("_rgb"):
                    file.create_dataset(f"data/demo_{index}/{array.key}", data=values[:, ::-1], **options)
                else:
                    file[f"data/demo_{index}/{array.key}"] = values
    with DemoReader(path) as reader:
        assert reader.names[2:] == [f"demo_{index}" for index in range(2, 12)]
        assert_equal(reader[10], replace(make_episode(seed=10), actions_executed=None, phases=None, openings=None))
        assert reader.language == "turn on"
        assert (reader.mapped(10, "agentview_rgb") is None) == bool(options)


def test_collection_goes_on_after_finish(task_file: Path) -> None:
    written(task_file)
    writer = DemoWriter(task_file, HEADER)
    assert writer.append(make_episode(seed=9)) == 3
    assert len(writer) == 4
    writer.finish()
    with DemoReader(task_file) as reader:
        assert_equal(reader[3], make_episode(seed=9))
        assert_equal(reader[0], make_episode(steps=4, seed=0))
    assert [path.name for path in task_file.parent.iterdir()] == [task_file.name]


def test_a_finish_cut_off_before_its_clean_up_is_harmless(task_file: Path) -> None:
    writer = DemoWriter(task_file, HEADER)
    for seed in range(2):
        writer.append(make_episode(seed=seed))
    parts = task_file.with_suffix(".parts")
    shutil.copytree(parts, task_file.parent / "kept")
    writer.finish()
    shutil.copytree(task_file.parent / "kept", parts)

    resumed = DemoWriter(task_file, HEADER)
    assert resumed.append(make_episode(seed=2)) == 2
    resumed.finish()
    with DemoReader(task_file) as reader:
        for seed in range(3):
            assert_equal(reader[seed], make_episode(seed=seed))
    assert not parts.exists()


WRITER = """
import sys, time
from demos.hdf5 import DemoWriter
from tests.demos.examples import HEADER, make_episode

def stall(index):
    if index == 2:
        print("third episode written, not published", flush=True)
        time.sleep(60)

writer = DemoWriter(sys.argv[1], HEADER)
for seed in range(3):
    writer.append(make_episode(seed=seed), before_publish=stall)
"""


def test_a_killed_writer_loses_only_the_episode_in_flight(task_file: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(task_file)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "not published" in process.stdout.readline()
    process.kill()
    process.wait()
    assert (task_file.with_suffix(".parts") / ".demo_2.hdf5.tmp").exists()

    writer = DemoWriter(task_file, HEADER)
    assert len(writer) == 2
    assert writer.append(make_episode(seed=7)) == 2
    with DemoReader(writer.finish()) as reader:
        for index, seed in enumerate((0, 1, 7)):
            assert_equal(reader[index], make_episode(seed=seed))
    assert not task_file.with_suffix(".parts").exists()


BUSY_WRITER = """
import sys
from demos.hdf5 import DemoWriter
from tests.demos.examples import HEADER, make_episode

print("ready", flush=True)
writer = DemoWriter(sys.argv[1], HEADER)
while True:
    seed = len(writer)
    writer.append(make_episode(20, seed, size=(64, 64)))
    print(seed, flush=True)
    if seed % 3 == 2:
        writer.finish()
"""


def test_killing_at_any_moment_loses_no_finished_episode(task_file: Path) -> None:
    rng = np.random.default_rng(0)
    finished = 0
    for kills in range(40):
        if kills >= 4 and finished > 4:
            break  # a busy machine needs more than four rounds to finish more than four episodes
        process = subprocess.Popen(
            [sys.executable, "-c", BUSY_WRITER, str(task_file)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0.02, 0.2))
        process.kill()
        finished += process.communicate()[0].count("\n")
        safe = len(DemoWriter(task_file, HEADER))
        assert finished <= safe <= finished + 1  # one may be stored but not yet reported
        finished = safe
    with DemoReader(DemoWriter(task_file, HEADER).finish()) as reader:
        assert len(reader) == finished > 4
        for index in range(0, finished, 3):
            assert_equal(reader[index], make_episode(20, index, size=(64, 64)))


def test_an_error_before_publishing_leaves_no_episode(task_file: Path) -> None:
    writer = DemoWriter(task_file, HEADER)

    def fail(index: int) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        writer.append(make_episode(), before_publish=fail)
    assert len(writer) == 0
    assert writer.append(make_episode()) == 0


def append_some(path: Path, worker: int) -> None:
    writer = DemoWriter(path, HEADER)
    for number in range(6):
        writer.append(make_episode(seed=100 * worker + number, worker=worker))
        if number == 3:
            writer.finish()  # while the other one appends


def test_two_workers_share_a_task(task_file: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=append_some, args=(task_file, worker)) for worker in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    with DemoReader(DemoWriter(task_file, HEADER).finish()) as reader:
        assert reader.names == [f"demo_{index}" for index in range(12)]
        assert sorted(reader[index].attributes["worker"] for index in range(12)) == [0] * 6 + [1] * 6


def test_another_tasks_file_is_not_added_to(task_file: Path) -> None:
    written(task_file)
    other = demos.hdf5.DemoHeader("close it", "problem", "close.bddl", {})
    with pytest.raises(DemoFileError, match=r"holds demonstrations of 'open the drawer'"):
        DemoWriter(task_file, other)


def test_an_empty_task_cannot_be_finished(task_file: Path) -> None:
    with pytest.raises(DemoFileError, match="no episode"):
        DemoWriter(task_file, HEADER).finish()


def test_missing_and_unfinished_files_say_what_to_do(task_file: Path) -> None:
    with pytest.raises(DemoFileError, match=r"no demonstrations at .*sim.collect"):
        DemoReader(task_file)
    DemoWriter(task_file, HEADER).append(make_episode())
    with pytest.raises(DemoFileError, match="not finished"):
        DemoReader(task_file)


@pytest.mark.parametrize("keep", [0, 100, 0.5, -1])
def test_a_file_that_is_cut_short_is_named(task_file: Path, keep: float) -> None:
    content = written(task_file).read_bytes()
    task_file.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(DemoFileError, match=r"open_the_drawer_demo\.hdf5.*collect or download it again"):
        DemoReader(task_file)


def test_a_file_without_demonstrations_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tracks.hdf5"
    with h5py.File(path, "w") as file:
        file["root/agentview/tracks"] = np.zeros(3)
    with pytest.raises(DemoFileError, match=r"tracks\.hdf5 is not a demonstration file"):
        DemoReader(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("obs/joint_states", None, r"data/demo_1/obs/joint_states is missing"),
        ("obs/ee_pos", np.zeros((5, 4)), r"data/demo_1/obs/ee_pos has shape \(5, 4\), expected \(T, 3\)"),
        ("obs/joint_states", np.zeros((4, 7)), r"data/demo_1/obs/joint_states has 4 steps, but .* 5 actions"),
    ],
)
def test_wrong_arrays_are_named_by_file_and_key(task_file: Path, key: str, value: object, message: str) -> None:
    with h5py.File(written(task_file), "a") as file:
        del file[f"data/demo_1/{key}"]
        if value is not None:
            file[f"data/demo_1/{key}"] = value
    with DemoReader(task_file) as reader, pytest.raises(DemoFileError, match=message):
        reader[1]


def test_an_episode_with_arrays_of_different_lengths_cannot_be_made() -> None:
    episode = make_episode(steps=5)
    with pytest.raises(ValueError, match="ee_pos has shape"):
        Episode(**{**episode.__dict__, "ee_pos": episode.ee_pos[:4]})
