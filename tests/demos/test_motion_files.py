"""Motion files: what is read is what is there, and every way in which a file can be wrong is named with its row."""

import bz2
import contextlib
import gzip
import itertools
import lzma
import os
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from demos import safe_pickle
from demos.motion import MotionError, chosen, make_motion, resampled
from demos.motion_files import motions_of, read_datasets, read_motions, to_array, write_npy
from demos.safe_pickle import PickleError


def trajectory(frames: int = 40, joints: int = 5) -> np.ndarray:
    """A root that goes along x and turns, joints on sines."""
    t = np.arange(frames) / 50
    array = np.zeros((frames, 9 + joints))
    array[:, 0], array[:, 1] = t, t
    array[:, 4], array[:, 7] = np.cos(t / 2), np.sin(t / 2)
    array[:, 8:-1] = np.sin(t[:, None] * np.arange(1, joints + 1))
    return array


def as_mapping(frames: int = 12) -> dict[str, object]:
    t = np.arange(frames) / 30
    root = np.stack([t, t, t], 1)
    turn = np.tile([0.0, 0.0, 0.0, 1.0], (frames, 1))
    return {"root_trans_offset": root, "root_rot": turn, "dof": np.sin(root), "fps": np.float64(30)}


@given(flags=st.lists(st.booleans(), min_size=4, max_size=40))
def test_a_trajectory_is_cut_without_losing_a_frame_of_a_clip(flags: list[bool]) -> None:
    array = trajectory(len(flags))
    array[:, -1] = flags
    falls = [0, *(i for i in range(1, len(flags)) if flags[i - 1] and not flags[i]), len(flags)]
    lengths = [end - first for first, end in itertools.pairwise(falls)]
    motions = motions_of(array, "t")
    assert [len(motion) for motion in motions] == [length for length in lengths if length > 1]
    for motion in motions:
        first = falls[int(motion.name.removeprefix("motion_"))]
        np.testing.assert_allclose(motion.joints, array[first : first + len(motion), 8:-1], atol=1e-6)
        np.testing.assert_array_equal(motion.transition, flags[first : first + len(motion)])


def test_written_motions_are_read_again(tmp_path: Path) -> None:
    motions = [
        make_motion(f"m{n}", rate, np.random.default_rng(n).normal(size=(20 + n, 4))) for n, rate in enumerate((20, 50))
    ]
    write_npy(tmp_path / "m.npy", motions)
    again = read_motions(tmp_path / "m.npy")
    assert [len(motion) for motion in again] == [20, 21]
    for ours, theirs in zip(again, motions, strict=True):
        np.testing.assert_allclose(ours.joints, theirs.joints, atol=1e-6)
        assert ours.frame_rate == pytest.approx(theirs.frame_rate)
    assert [len(motion) for motion in read_datasets(f"{tmp_path}/m.npy:traj-0.5")] == [21]
    assert [motion.name for motion in chosen(again, "1")] == ["motion_1"]
    np.testing.assert_allclose(to_array(again)[:, 8:-1], to_array(motions)[:, 8:-1], atol=1e-6)


def test_resampling_keeps_the_ends_and_what_lies_between() -> None:
    motion = motions_of(trajectory(), "t")[0]
    twice = resampled(motion, 100)
    assert len(twice) == 79
    np.testing.assert_allclose(twice.joints[::2], motion.joints, atol=1e-5)
    np.testing.assert_allclose(twice.root_rot[::2], motion.root_rot, atol=1e-5)
    np.testing.assert_allclose(twice.root_rot[1::2], resampled(twice, 50).root_rot[:-1], atol=1e-2)


def wrong(change: str) -> np.ndarray:
    array = trajectory()
    if change == "columns":
        return array[:, :9]
    if change == "vector":
        return array[:, 0]
    if change == "nan":
        array[7, 9] = np.nan
    if change == "quaternion":
        array[11, 4:8] *= 1.2
    if change == "time":
        array[5, 0] = array[4, 0]
    return array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("columns", "9 columns; time, the root"),
        ("vector", r"array of numbers \(T, 9 \+ joints\), not float64 \(40,\)"),
        ("nan", "row 7: not all numbers are finite"),
        ("quaternion", r"row 11: the root's quaternion .* has length 1.2 and is no rotation"),
        ("time", "row 5: time does not go on"),
    ],
)
def test_a_wrong_trajectory_is_refused_with_its_file_and_row(tmp_path: Path, change: str, message: str) -> None:
    np.save(tmp_path / "walk.npy", wrong(change))
    with pytest.raises(MotionError, match=message) as error:
        read_motions(tmp_path / "walk.npy")
    assert "walk.npy" in str(error.value)


def test_pickled_arrays_of_objects_are_not_read_as_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "walk.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(MotionError, match=r"walk.npy is no array of numbers"):
        read_motions(tmp_path / "walk.npy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dof": None}, "b.pkl: walk: it has no dof"),
        ({"root_rot": np.zeros((12, 4))}, "b.pkl: walk, row 0: the root's quaternion"),
        ({"root_rot": np.zeros((12, 3))}, r"the root's rotation must be numbers \(T, 4\)"),
        ({"dof": np.zeros((11, 3))}, "12 positions of the root, 11 rows of joints"),
        ({"dof": np.full((12, 3), np.inf)}, "b.pkl: walk, row 0: the joints are not finite"),
        ({"fps": 0}, "0.0 is no frame rate"),
        ({"fps": "fast"}, "fps is 'fast', not a number"),
    ],
)
def test_wrong_motion_capture_is_refused_with_its_file_motion_and_row(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    (tmp_path / "b.pkl").write_bytes(pickle.dumps({"walk": as_mapping() | change}))
    with pytest.raises(MotionError, match=message):
        read_motions(tmp_path / "b.pkl")


def test_positions_of_smpl_joints_stand_in_for_missing_joints(tmp_path: Path) -> None:
    places = np.random.default_rng(0).normal(size=(12, 24, 3))
    (tmp_path / "b.pkl").write_bytes(pickle.dumps({"walk": as_mapping() | {"dof": None, "smpl_joints": places}}))
    motion = read_motions(tmp_path / "b.pkl")[0]
    np.testing.assert_allclose(motion.joints, places.reshape(12, 72), rtol=1e-6)


class Runs:
    """What a malicious file holds: loading it with pickle creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path, protocol: int) -> None:
    made = tmp_path / "made"
    file = tmp_path / "evil.pkl"
    file.write_bytes(pickle.dumps({"walk": as_mapping() | {"dof": Runs(made)}}, protocol))
    with pytest.raises(PickleError, match=r"evil.pkl was not read: it asks for (posix.mkdir|numpy)"):
        read_motions(file)
    assert not made.exists()
    pickle.loads(file.read_bytes())
    assert made.exists()  # so the file does run code


@pytest.mark.parametrize(
    "program",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n}S'__doc__'\nNsb.",  # would change a function
        b"cjoblib.numpy_pickle\nNumpyArrayWrapper\nN}S'read'\nNs\x86b.",  # would change a class
        b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",
        b"\x80\x02\x82\x01.",  # a registered extension
    ],
)
def test_programs_that_ask_for_more_than_arrays_are_refused(tmp_path: Path, program: bytes) -> None:
    (tmp_path / "evil.pkl").write_bytes(program)
    with pytest.raises(PickleError, match=r"evil.pkl"):
        safe_pickle.load(tmp_path / "evil.pkl")


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    (tmp_path / "o.pkl").write_bytes(pickle.dumps([np.array([1, "a", None], object)]))
    with pytest.raises(PickleError, match="an array of objects"):
        safe_pickle.load(tmp_path / "o.pkl")


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, bz2.compress, lzma.compress, bytes])
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_and_compressed_pickles_hold_what_was_put_in(tmp_path: Path, pack, protocol: int) -> None:
    motion = as_mapping() | {"name": "é", "flags": np.zeros((0, 3), bool), "fortran": np.asfortranarray(np.eye(3))}
    (tmp_path / "m.pkl").write_bytes(pack(pickle.dumps(motion, protocol)))
    found = safe_pickle.load(tmp_path / "m.pkl")
    assert found.keys() == motion.keys()
    for name, value in motion.items():
        np.testing.assert_array_equal(found[name], value)


@given(data=st.data())
def test_a_damaged_pickle_is_refused_or_read_but_never_anything_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    good = bytearray(pickle.dumps({"walk": as_mapping(4)}, data.draw(st.integers(0, 5))))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.getbasetemp() / "damaged.pkl"
    file.write_bytes(bytes(good[: data.draw(st.integers(1, len(good)))]))
    with contextlib.suppress(UserError):
        read_motions(file)


def test_a_missing_or_unknown_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MotionError, match="there is no motion file"):
        read_motions(tmp_path / "nowhere.npy")
    (tmp_path / "walk.txt").write_text("")
    with pytest.raises(MotionError, match="none of the motion files"):
        read_motions(tmp_path / "walk.txt")
    with pytest.raises(MotionError, match="there are no motions"):
        read_motions(tmp_path)
    with pytest.raises(MotionError, match="no demonstrations"):
        read_datasets("libero_goal:traj1", tmp_path)
