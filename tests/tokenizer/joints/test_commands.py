"""Measuring, encoding and decoding from the command line, and a film."""

import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from demos.humanoid_motions import JOINTS, humanoid_motion
from demos.motion_files import read_motions, write_npy
from tests.tokenizer.joints.examples import motion_file, train
from tokenizer import decode_joints, encode_joints, evaluate_joints
from tokenizer.joints.model import JointTokenizer

ARM = """
<mujoco><worldbody><body name="base"><freejoint/><geom size="0.1"/>{links}</body></worldbody></mujoco>
"""


def model_file(folder: Path, joints: int = 5) -> Path:
    """A chain of links of 10 cm, its end a site."""
    links = '<site name="end" pos="0.1 0 0"/>'
    for number in reversed(range(joints)):
        links = f'<body pos="0.1 0 0"><joint name="j{number}" axis="0 0 1"/><geom size="0.02"/>{links}</body>'
    (folder / "chain.xml").write_text(ARM.format(links=links))
    return folder / "chain.xml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("joints")
    train(folder, "max_steps=150")
    return folder


def checkpoint(folder: Path) -> Path:
    return folder / "runs" / "joint_tokenizer" / "tiny" / "latest.safetensors"


def test_measures_are_written_and_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "measures.json"
    model = ["--model", str(model_file(folder)), "--site", "end"]
    evaluate_joints.main([str(checkpoint(folder)), str(folder / "motions.npy"), *model, "--out", str(out)])
    printed = capsys.readouterr().out
    assert "6 clips" in printed
    assert "ema_reset" in printed
    found = json.loads(out.read_text())
    motion, codes = found["motion"], found["codes"]
    assert 0 < motion["joint_rmse_rad"] < 0.5
    assert motion["joint_rmse_rad"] <= motion["joint_max_rad"]
    assert 0 < motion["local_mpjpe_mm"] < motion["mpjpe_mm"] < 2000
    assert motion["end_effector_mm"] <= motion["end_effector_max_mm"]
    assert 0 <= codes["dead_code_ratio"] < 1


def test_codes_and_back(folder: Path) -> None:
    encode_joints.main([str(checkpoint(folder)), str(folder / "motions.npy"), "--out", str(folder / "codes.json")])
    found = json.loads((folder / "codes.json").read_text())
    assert [len(clip["codes"]) for clip in found["clips"]] == [16] * 6  # 60 frames in fours, and what follows the end
    decode_joints.main([str(folder / "codes.json"), "--out", str(folder / "again.npy")])
    again, original = (read_motions(folder / f"{name}.npy") for name in ("again", "motions"))
    assert [len(motion) for motion in again] == [60] * 6
    for ours, theirs in zip(again, original, strict=True):
        np.testing.assert_allclose(ours.root_pos[0], theirs.root_pos[0], atol=1e-6)
        assert np.abs(ours.joints - theirs.joints).mean() < 0.5
    found["digest"] = "0" * 16
    (folder / "other.json").write_text(json.dumps(found))
    with pytest.raises(UserError, match="is of the tokenizer 0000000000000000"):
        decode_joints.main([str(folder / "other.json"), "--out", str(folder / "x.npy")])


def test_codes_by_hand_and_what_one_code_means(folder: Path) -> None:
    (folder / "mine.json").write_text(json.dumps({"tokenizer": str(checkpoint(folder)), "codes": [1, 2, 3]}))
    decode_joints.main([str(folder / "mine.json"), "--out", str(folder / "mine.npy")])
    assert len(read_motions(folder / "mine.npy")[0]) == 12
    decode_joints.main([str(checkpoint(folder)), "--code", "3", "--out", str(folder / "one.npy")])
    assert len(read_motions(folder / "one.npy")[0]) == 32
    (folder / "mine.json").write_text("{}")
    with pytest.raises(UserError, match=r"mine.json is no file of codes"):
        decode_joints.main([str(folder / "mine.json"), "--out", str(folder / "x.npy")])


def test_codes_of_every_window(folder: Path) -> None:
    arguments = [str(checkpoint(folder)), str(folder / "motions.npy"), "--out", str(folder / "all.npz"), "--sliding"]
    encode_joints.main(arguments)
    with np.load(folder / "all.npz") as found:
        assert found["codes"].shape == (6 * 29, 8)
        assert found["starts"][29].tolist() == [1, 0]
    assert JointTokenizer.load(checkpoint(folder)).config.window_size == 32


def test_a_film_shows_the_motion(folder: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    model, film = model_file(folder), folder / "film.mp4"
    encode_joints.main(
        [str(checkpoint(folder)), f"{motion_file(folder)}", "--motions", "0", "--out", str(folder / "c.json")]
    )
    decode_joints.main(
        [str(folder / "c.json"), "--out", str(folder / "c.npy"), "--film", str(film), "--model", str(model)]
    )
    import imageio.v2 as imageio

    with imageio.get_reader(film) as video:
        frames = list(video.iter_data())
    assert len(frames) == 60
    assert np.ptp(frames[30]) > 50


def test_humanoid_motions_stay_in_their_ranges_and_are_the_models(tmp_path: Path) -> None:
    gymnasium = pytest.importorskip("gymnasium")
    from demos.forward_kinematics import forward_kinematics

    model = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "humanoid.xml"
    motion = humanoid_motion(3)
    assert motion.joints.shape == (120, len(JOINTS))
    places = forward_kinematics(model)(motion)
    assert -0.1 < places[..., 2].min() < 0.2  # feet on the ground
    write_npy(tmp_path / "h.npy", [motion])
    assert np.abs(np.diff(motion.joints, axis=0)).max() * 30 < 8
