"""Body motion from files to vectors and back: data, training, and every command."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from common.errors import UserError
from demos import synthetic_body
from demos.body_motion import BodyMotion, BodyMotionError, read_body_motion, write_body_motion
from demos.synthetic_body import Person, body_motion
from tests.tokenizer.golden import load
from tokenizer import decode_body, encode_body, evaluate_body, train_body
from tokenizer.body.data import BodyWindows, read_all, split, tensors_of
from tokenizer.body.features import body_of, features_of
from tokenizer.body.measures import pose_errors
from tokenizer.body.model import BodyTokenizer
from tokenizer.load import load_tokenizer

TINY = ["model.hidden_dim=48", "model.latent_dim=8", "model.num_resnet_blocks=1", "sequence_length=16", "batch_size=4"]


def drawn(seed: int = 0, frames: int = 20) -> BodyMotion:
    rng = np.random.default_rng(seed)
    return body_motion(Person.drawn(rng), rng, frames, "somebody")


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bodies")
    synthetic_body.main([str(folder), "--people", "3", "--actions", "2", "--frames", "22"])
    return folder


def train(bodies: Path, root: Path, *overrides: str) -> Path:
    run = ["run_name=tiny", f"train_datasets=[{bodies}]", f"runs_root={root}", "val_share=0.4", "threads=1"]
    train_body.main([*run, *TINY, "num_epochs=null", "max_steps=4", "warmup_steps=2", "log_interval=2", *overrides])
    return root / "body_tokenizer" / "tiny" / "latest.safetensors"


@pytest.fixture(scope="module")
def trained(bodies: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(bodies, tmp_path_factory.mktemp("runs"), "start=linear")


def test_a_synthetic_body_stands_on_its_feet_and_moves_like_one() -> None:
    motion = drawn(frames=152)
    lowest = motion.joint_positions[..., 2].min(axis=1)
    assert np.abs(lowest).max() < 0.15
    assert np.linalg.norm(np.diff(motion.joint_positions, axis=0), axis=-1).max() * 30 < 8  # m/s
    bone = np.linalg.norm(motion.joint_positions[:, 16] - motion.joint_positions[:, 17], axis=-1)
    np.testing.assert_allclose(bone, bone[0], atol=1e-5)
    left, up, ahead = np.moveaxis(motion.head_rotation, 2, 0)
    np.testing.assert_allclose(np.cross(left, up), ahead, atol=1e-5)
    assert up[:, 2].min() > 0.2


def test_a_motion_is_written_and_read_and_its_features_give_it_back(tmp_path: Path) -> None:
    motion = drawn()
    write_body_motion(tmp_path / "somebody_00000.h5", motion)
    read = read_body_motion(tmp_path / "somebody_00000.h5")
    body = body_of(features_of(tensors_of(read)))
    for again, array in zip(vars(body).values(), list(vars(motion).values())[:4], strict=True):
        np.testing.assert_allclose(again[0].numpy(), array, atol=1e-5)


def test_the_frame_rate_is_that_of_the_time_stamps(tmp_path: Path) -> None:
    for rate in (30.0, 29.97, 60.0):
        write_body_motion(tmp_path / f"at_{rate}.h5", replace(drawn(), frame_rate=rate))
        assert read_body_motion(tmp_path / f"at_{rate}.h5").frame_rate == rate
    with pytest.raises(BodyMotionError, match=r"frame rates \[29.97, 30.0, 60.0\]"):
        read_all(sorted(tmp_path.glob("*.h5")))


def test_golden_motion_files_are_read_in_the_published_order_and_padded(golden: Path, tmp_path: Path) -> None:
    data = load(golden, "motion_vae_loader")
    for name, content in data["files"].items():
        with h5py.File(tmp_path / name, "w") as file:
            for key, values in content["datasets"].items():
                file[key] = values.numpy()
            file.attrs.update(content["attributes"])
    files = sorted(tmp_path.glob("*.h5"), key=str)
    assert [file.name for file in files] == data["order"]
    flat, valid = BodyWindows(read_all(files), data["sequence_length"]).windows(np.arange(len(files)))
    torch.testing.assert_close(valid, data["batch"]["padding_mask"])
    for ours, theirs, mask in zip(flat, data["flat"], valid.bool(), strict=True):
        torch.testing.assert_close(ours[mask], theirs[mask], rtol=0, atol=1e-6)
        assert not ours[~mask].any()


def test_golden_motion_files_are_split_as_published(golden: Path) -> None:
    for case in load(golden, "motion_vae_loader")["splits_seed42_val_0_1"]:
        training, validation = split([f"{i}.h5" for i in range(case["n"])], 0.1)
        assert training == list(case["train"])
        assert validation == list(case["val"])


def test_a_recording_is_on_one_side_of_the_split() -> None:
    training, validation = split(["anna", "bert", "anna", "carl", "bert", "carl"], 0.4)
    assert len(validation) == 2
    assert sorted(training + validation) == list(range(6))
    assert validation in [[0, 2], [1, 4], [3, 5]]


def test_a_window_from_the_midst_begins_as_a_motion_does(bodies: Path) -> None:
    windows = BodyWindows(read_all(sorted(bodies.glob("*.h5"))), 8)
    batch, valid = windows.windows(np.arange(6), np.random.default_rng(1))
    assert valid.all()
    torch.testing.assert_close(features_of(body_of(batch)), batch, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda m: replace(m, head_rotation=2 * m.head_rotation), r"cpf_orientation is no rotation in frame 0"),
        (lambda m: replace(m, joint_positions=m.joint_positions[:, :5]), r"joint_translation has shape \(20, 5, 3\)"),
        (lambda m: replace(m, head_position=np.where(np.arange(20)[:, None] == 3, np.nan, m.head_position)),
         "cpf_translation is not finite in frame 3"),
        (lambda m: replace(m, joint_rotations=m.joint_rotations * np.array([1, 1, -1])), "no rotation in frame 0"),
    ],
)  # fmt: skip
def test_what_is_no_motion_is_refused_with_file_and_frame(tmp_path: Path, spoil, message: str) -> None:
    path = tmp_path / "bad_00000.h5"
    write_body_motion(path, spoil(drawn()))
    with pytest.raises(BodyMotionError, match=rf"bad_00000\.h5.*{message}"):
        read_body_motion(path)


def test_what_is_no_file_of_motion_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(BodyMotionError, match="no HDF5 file"):
        read_body_motion(tmp_path / "text.h5")
    h5py.File(tmp_path / "empty.h5", "w").close()
    with pytest.raises(BodyMotionError, match="has no cpf_translation"):
        read_body_motion(tmp_path / "empty.h5")
    write_body_motion(tmp_path / "text_00000.h5", drawn())
    for key, content in (("cpf_translation", "text"), ("cpf_translation", 1.0), ("timestamp_ns", np.arange(7))):
        with h5py.File(tmp_path / "text_00000.h5", "a") as file:
            del file[key]
            file[key] = content
        with pytest.raises(BodyMotionError, match=rf"text_00000\.h5.*{key}"):
            read_body_motion(tmp_path / "text_00000.h5")
        write_body_motion(tmp_path / "text_00000.h5", drawn())
    with pytest.raises(BodyMotionError, match="no body motion at"):
        train(tmp_path / "nowhere", tmp_path)


def test_a_resumed_training_ends_with_the_weights_of_one_in_one_go(bodies: Path, trained: Path, tmp_path: Path) -> None:
    train(bodies, tmp_path, "max_steps=2", "lr_schedule=null")
    resumed = train(bodies, tmp_path, "max_steps=4", "lr_schedule=null", "resume=true")
    whole = train(bodies, tmp_path / "whole", "lr_schedule=null")
    one, other = (BodyTokenizer.load(path).state_dict() for path in (whole, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_checkpoint_is_a_tokenizer_that_knows_its_mode(trained: Path) -> None:
    tokenizer = load_tokenizer(trained)
    assert isinstance(tokenizer, BodyTokenizer)
    assert (tokenizer.codebook_size, tokenizer.latent_width, tokenizer.rate) == (None, 8, 7.5)
    assert tokenizer.config.mode == "causal"


def test_training_does_not_go_on_from_weights_that_mean_something_else(
    bodies: Path, trained: Path, tmp_path: Path
) -> None:
    train(bodies, tmp_path, f"init_from={trained}")
    for other in ("model.mode=published", "model.look_ahead=true"):
        with pytest.raises(UserError, match=r"latest\.safetensors was trained with .*, which cannot go on with"):
            train(bodies, tmp_path, f"init_from={trained}", other)


def test_the_tokenizer_that_comes_with_the_project_rebuilds_new_people() -> None:
    tokenizer = BodyTokenizer.load(Path(__file__).parents[3] / "checkpoints" / "body.safetensors")
    unseen = torch.cat([features_of(tensors_of(drawn(seed, 152))) for seed in range(1000, 1010)])
    rebuilt = tokenizer.decode(tokenizer.encode(unseen))
    assert pose_errors(rebuilt, unseen, torch.ones(unseen.shape[:2]))["mpjpe_mm"] < 30


def test_motions_become_vectors_and_motions_again(bodies: Path, trained: Path, tmp_path: Path) -> None:
    vectors, film = tmp_path / "vectors.npz", tmp_path / "again.mp4"
    encode_body.main([str(trained), str(bodies), "--out", str(vectors)])
    decode_body.main([str(trained), str(vectors), "--out", str(tmp_path / "again"), "--film", str(film)])
    files = sorted((tmp_path / "again").glob("*.h5"))
    assert [file.name for file in files] == [file.name for file in sorted(bodies.glob("*.h5"))]
    assert len(read_body_motion(files[0])) == 22
    assert film.stat().st_size > 1000
    decode_body.main([str(trained), "--sample", "1", "--out", str(tmp_path / "new")])
    assert len(read_body_motion(tmp_path / "new" / "sample_000.h5")) == 152
    evaluate_body.main([str(trained), str(bodies), "--out", str(tmp_path / "measures.json")])
    measures = json.loads((tmp_path / "measures.json").read_text())
    evaluate_body.main([str(trained), str(tmp_path / "again"), "--out", str(tmp_path / "again.json")])
    assert measures["mpjpe_mm"] > 0
    assert 0 < measures["head_deg"] < 180


def test_vectors_of_another_tokenizer_are_refused(trained: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "vectors.npz", **{"a": np.zeros((3, 9), np.float32), "a.frames": np.array(12)})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"expected \(s, 8\) finite numbers"):
        decode_body.main([str(trained), str(tmp_path / "vectors.npz"), "--out", str(tmp_path / "out")])
    (tmp_path / "cut.npz").write_bytes((tmp_path / "vectors.npz").read_bytes()[:60])
    (tmp_path / "empty.npz").touch()
    for name in ("cut", "empty"):
        with pytest.raises(UserError, match=rf"{name}\.npz is no file of vectors"):
            decode_body.main([str(trained), str(tmp_path / f"{name}.npz"), "--out", str(tmp_path / "out")])
    with pytest.raises(UserError, match="or how many motions to --sample"):
        decode_body.main([str(trained), "--out", str(tmp_path / "out")])
