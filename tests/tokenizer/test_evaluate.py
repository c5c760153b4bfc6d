"""The command that says what a tokenizer keeps: every measure of each view, both decodings, beside standing still."""

import json
from pathlib import Path

import pytest
import torch

from common.errors import UserError
from demos.dataset import FrameDataset
from tests.policy.tiny import SIZE, TRACKS, make_data
from tokenizer import evaluate
from tokenizer.tracks.metrics import trajectory_metrics
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.options import TokenizerConfig
from training import checkpoint

CONFIG = TokenizerConfig(
    num_tracks=TRACKS, img_shape=(SIZE, SIZE), hidden_dim=32, num_heads=2, codebook_size=256, decoder_mlp_hidden_dim=16
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demonstrations with tracks, and a tokenizer of random weights."""
    root = tmp_path_factory.mktemp("evaluate")
    make_data(root)
    torch.manual_seed(0)
    weights = MotionTokenizer(CONFIG).state_dict()
    checkpoint.save(root / "tokenizer.safetensors", "motion_tokenizer", {"model": CONFIG.to_dict()}, weights)
    return root


def arguments(root: Path, *more: str) -> list[str]:
    roots = ["--demos-root", str(root / "demos"), "--tracks-root", str(root / "tracks")]
    return [str(root / "tokenizer.safetensors"), "[tiny:traj-0.5]", *roots, *more]


def test_it_prints_a_table_for_each_decoding_and_writes_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate.main(arguments(root))
    printed = capsys.readouterr().out
    assert "decoded by argmax" in printed
    assert "decoded by expectation" in printed
    assert "240 codes: perplexity" in printed
    found = json.loads((root / "tokenizer.evaluation.json").read_text())
    assert found["frames"] == 40
    for decoding in ("argmax", "expectation"):
        for view in ("", "agentview/", "eye_in_hand/"):
            for name in ("mse", "cross_track_l2", "delta_auc", "pixel_accuracy_1", "pixel_accuracy_10"):
                assert {f"{view}{name}", f"{view}still/{name}"} <= found[decoding].keys()
            assert f"{view}motion_explained" in found[decoding]
        assert 0 <= found[decoding]["codebook_accuracy"] <= 1
    assert 0 < found["codes"]["unique_codes"] <= 240
    assert found["codes"]["dead_code_ratio"] == pytest.approx(1 - found["codes"]["unique_codes"] / 240)


def test_the_measures_are_those_of_all_frames_at_once(root: Path) -> None:
    evaluate.main(arguments(root, "--out", str(root / "all.json")))
    found = json.loads((root / "all.json").read_text())
    model = MotionTokenizer.load(root / "tokenizer.safetensors")
    frames = FrameDataset("tiny:traj-0.5", root=root / "demos", tracks_root=root / "tracks", keys={"tracks"})
    points = torch.from_numpy(frames.frames_in_batch(torch.arange(40).numpy())["tracks"])
    for decoding in ("argmax", "expectation"):
        again = model.reconstruct(model.tokenize(points), points[:, :, :1], decoding)
        whole = trajectory_metrics(again, points, CONFIG.img_shape)
        for name in ("mse", "delta_auc", "normalized_accuracy", "cross_track_l2"):
            assert found[decoding][name] == pytest.approx(whole[name], rel=1e-4)
        still = (points - points[:, :, :1]).square().mean()
        assert found[decoding]["motion_explained"] == pytest.approx(1 - whole["mse"] / still.item(), rel=1e-4)


def test_a_file_that_is_no_tokenizer_is_refused(root: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint at"):
        evaluate.main(["nowhere.safetensors", "[tiny:traj1]"])
