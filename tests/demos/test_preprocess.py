"""What is made beside demonstrations: tracks, and embeddings of instructions by T5 as published."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from common.errors import UserError
from demos.dataset import FrameDataset
from demos.preprocess import main
from demos.t5 import T5Encoder
from demos.text_embeddings import read_text_embeddings
from tests.policy.pretrained import write_t5
from tests.policy.tiny import make_data


def test_the_embeddings_of_a_suite_are_written_as_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_data(tmp_path, with_tracks=False)
    t5, dest = write_t5(tmp_path), tmp_path / "preprocessed_data"
    main(["mode=text", "suite=tiny", f"weights={t5}", f"demos_root={tmp_path / 'demos'}", f"dest={dest}"])
    assert "2 instructions" in capsys.readouterr().out
    with h5py.File(dest / "tiny" / "text" / "task_1.hdf5") as file:
        assert file["text"].asstr()[()] == "open drawer number 1"
        assert file["text_emb"].shape == (1, 512)
        assert file["text_emb"].dtype == np.float32
    found = read_text_embeddings(dest)
    encoder = T5Encoder.pretrained(str(t5))
    again = encoder(encoder.prepare(list(found))).numpy()
    assert np.allclose(again, np.stack(list(found.values())), atol=1e-5)
    assert not np.allclose(again[0], again[1])


def test_tracks_are_made_for_demonstrations_that_have_none_and_then_train(tmp_path: Path) -> None:
    make_data(tmp_path, with_tracks=False)
    dest = tmp_path / "tracks"
    command = ["mode=tracks", "suite=tiny", f"demos_root={tmp_path / 'demos'}", f"dest={dest}"]
    main(command)
    files = sorted(dest.rglob("demo_*.hdf5"))
    files[0].unlink()
    kept = files[1].stat().st_mtime_ns
    main(command)
    assert sorted(dest.rglob("demo_*.hdf5")) == files
    assert files[1].stat().st_mtime_ns == kept
    frames = FrameDataset("[tiny:traj1.0]", root=tmp_path / "demos", tracks_root=dest, keys={"images", "tracks"})
    assert frames.episodes_without_tracks == 0
    assert frames.tracks_in_batch(np.array([0, 1])).shape == (2, 2, 16, 400, 2)


def test_t5_does_as_transformers_does(tmp_path: Path) -> None:
    import transformers

    folder = write_t5(tmp_path)
    encoder = T5Encoder.pretrained(str(folder))
    ids = encoder.prepare(["open the drawer", "open " * 40])
    assert ids.shape == (2, 32)
    assert ids[0].tolist() == [3, 5, 6, 1] + [0] * 28
    assert ids[1].tolist() == [3] * 31 + [1]
    theirs = transformers.T5EncoderModel.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state[:, 0]
    assert torch.allclose(encoder(ids), expected, atol=1e-5)


def test_weights_hold_all_that_t5_needs(tmp_path: Path) -> None:
    source = T5Encoder.pretrained(str(write_t5(tmp_path)))
    copy = T5Encoder(source.model.config.to_dict(), len(source.tokenizer_json))
    copy.load_state_dict(source.state_dict())
    assert torch.equal(copy(copy.prepare(["open it"])), source(source.prepare(["open it"])))
    copy.tokenizer_json[5:9] = 0
    copy.__dict__.pop("_tokenizer")
    with pytest.raises(UserError, match=r"tokenizer\.json of this T5 is damaged"):
        copy.prepare(["open it"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mode=codes", "suite=x"], r"expected one of \[text, tracks\]"),
        (["mode=text"], "missing mandatory value: suite"),
        (["mode=text", "suite=x", "root=y"], "Key 'root' not in"),
        (["mode=text", "--suite", "x"], "cannot read '--suite'"),
        (["mode=text", "suite=x"], "no demonstrations .* in data/demos/x"),
    ],
)
def test_settings_that_are_none_are_refused(words: list[str], message: str, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        main(words)
