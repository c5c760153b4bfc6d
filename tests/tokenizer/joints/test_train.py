"""Training the joint tokenizer: every quantizer, the document's YAML, and data that cannot be trained on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from common.errors import UserError
from common.joint_map import JointMap
from demos.motion_files import write_npy
from tests.tokenizer.joints.examples import motion, motion_file, train
from tokenizer.joints.document import read_document
from tokenizer.joints.model import JointTokenizer
from tokenizer.load import load_tokenizer

DOCUMENT = """
agent:
  config:
    # Training parameters
    batch_size: 256
    window_size: 32
    total_iter: 10000
    lr: 2e-4
    # Model parameters
    code_dim: 512
    nb_code: 512
    num_joints: 24
    # Data processing
    prefer_expmap: false
    apply_sim_to_real_map: false
    real_dof: null
    sim_to_real_idx: null
"""
MAP_23_TO_29 = [*range(15), -1, *range(16, 19), 22, 23, 24, -1]


@pytest.mark.parametrize("quantizer", ["ema_reset", "ema", "reset", "orig", "fsq", "residual"])
def test_every_quantizer_trains_is_saved_and_opened_again(tmp_path: Path, quantizer: str) -> None:
    path = train(tmp_path, f"quantizer={quantizer}", "quantizer_layers=2")
    tokenizer = load_tokenizer(path)
    assert isinstance(tokenizer, JointTokenizer)
    assert tokenizer.codebook_size == (15 if quantizer == "fsq" else 16)
    assert (tokenizer.frame_rate, tokenizer.rate) == (pytest.approx(30), pytest.approx(7.5))
    codes = tokenizer.encode(torch.zeros(3, 32, 14))
    assert codes.shape == ((3, 8, 2) if quantizer == "residual" else (3, 8))
    again = tokenizer.decode(codes)
    assert again.shape == (3, 32, 14)
    torch.testing.assert_close(tokenizer.decode(codes[1:2]), again[1:2])
    with torch.no_grad():
        whole = tokenizer.vqvae.quantizer(z := torch.randn(2, 8, 10))
        torch.testing.assert_close(tokenizer.vqvae.quantizer.encode(z), whole.indices)
        torch.testing.assert_close(tokenizer.vqvae.quantizer.lookup(whole.indices), whole.vectors)


def test_a_codebook_learns_on_after_resuming_and_never_begins_anew(tmp_path: Path) -> None:
    data = motion_file(tmp_path)
    whole = train(tmp_path, "max_steps=8", "save_minutes=0", run="whole", data=data)
    train(tmp_path, "max_steps=4", run="parts", data=data)
    parts = train(tmp_path, "max_steps=8", "resume=true", run="parts", data=data)
    ours, theirs = load_file(parts), load_file(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    "settings",
    [("layout=state",), ("layout=state", "prefer_expmap=true"), ("frame_rate=15", "window_size=16"), ("vq_norm=LN",)],
)
def test_other_features_train(tmp_path: Path, settings: tuple[str, ...]) -> None:
    assert JointTokenizer.load(train(tmp_path, *settings)).frame_rate == pytest.approx(
        15 if "frame_rate=15" in settings else 30
    )


def test_the_documents_own_yaml_loads_with_its_defaults(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(DOCUMENT)
    values = read_document(tmp_path / "agent.yaml")
    assert values["lr"] == 2e-4  # text to YAML 1.1
    assert values["max_steps"] == 11_000
    path = train(tmp_path, "--config", str(tmp_path / "agent.yaml"), "max_steps=2", "width=16", "code_dim=8")
    assert JointTokenizer.load(path).config.nb_code == 16  # the command line wins


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("windowsize: 32", "unknown key 'windowsize'; the nearest known one is 'window_size'"),
        ("vq_norm: layer", "for a norm over channels write LN"),
        ("early_stopping_patience: 10", "not supported: training does not stop early"),
        ("output_emb_width: 256", "output_emb_width is 256, code_dim 512"),
    ],
)
def test_keys_that_nobody_reads_are_refused(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "agent.yaml").write_text(f"{DOCUMENT}    {line}\n")
    with pytest.raises(UserError, match=message):
        read_document(tmp_path / "agent.yaml")


def test_a_map_from_23_to_29_joints_is_used_in_training(tmp_path: Path) -> None:
    file = tmp_path / "g1.yaml"
    text = DOCUMENT.replace("apply_sim_to_real_map: false", "apply_sim_to_real_map: true")
    text = text.replace("real_dof: null", "real_dof: 29").replace("idx: null", f"idx: {MAP_23_TO_29}")
    file.write_text(text)
    joint_map = JointMap.read(file, 23)
    data = motion_file(tmp_path, joints=23)
    path = train(tmp_path, "--config", str(file), "max_steps=2", "width=16", "code_dim=8", data=data)
    tokenizer = JointTokenizer.load(path)
    assert len(tokenizer.mean) == 4 + 2 * 29
    unnamed = np.setdiff1d(np.arange(29), joint_map.index)
    assert len(unnamed) == 8
    assert (tokenizer.mean[4 + unnamed] == 0).all()
    assert (tokenizer.std[4 + unnamed] == 1).all()
    (tmp_path / "other").mkdir()
    other = motion_file(tmp_path / "other")
    with pytest.raises(UserError, match="5 joints, sim_to_real_idx has 23 entries"):
        train(tmp_path, "--config", str(file), "max_steps=2", data=other)


def test_data_that_cannot_be_trained_on_is_refused_by_file_and_row(tmp_path: Path) -> None:
    short = tmp_path / "short.npy"
    write_npy(short, [motion(0), motion(1, frames=20), *(motion(n) for n in range(2, 8))])
    with pytest.raises(UserError, match=r"short.npy rows 60 to 79: a clip of 20 frames .* the window of 32"):
        train(tmp_path, data=short)
    assert train(tmp_path, "short_clips=pad", data=short).exists()
    (tmp_path / "folder").mkdir()
    for joints in (4, 5):
        write_npy(tmp_path / "folder" / f"{joints}.npy", [motion(0, joints)])
    with pytest.raises(UserError, match=r"5.npy rows 0 to 59: 5 joints, .*4.npy rows 0 to 59 has 4"):
        train(tmp_path, f"train_datasets=[{tmp_path}/folder]", "val_datasets=[]", data=short)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("window_size=30", "multiple of 2"),
        ("stride_t=3", "only 2 fits"),
        ("prefer_expmap=true", "needs layout=state"),
        ("apply_sim_to_real_map=true", "needs real_dof and sim_to_real_idx"),
        ("quantizer=fsq nb_code=100", "use one of 16, 64"),
        ("reset_share=2", "between 0 and 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, setting: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(tmp_path, *setting.split())


def test_lengths_and_codes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    tokenizer = JointTokenizer.load(train(tmp_path))
    with pytest.raises(UserError, match=r"t a multiple of 4, not \(1, 30, 14\)"):
        tokenizer.encode(torch.zeros(1, 30, 14))
    with pytest.raises(UserError, match="codes are 0 to 15; 3 to 16 are another tokenizer's"):
        tokenizer.decode(torch.tensor([[3, 16]]))
    with pytest.raises(UserError, match="codes must be whole numbers"):
        tokenizer.decode(torch.zeros(1, 4))
