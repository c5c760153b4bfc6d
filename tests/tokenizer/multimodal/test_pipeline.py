"""From videos to tokens: what lands where, what is left out, and what happens when a run is killed."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from common.errors import UserError
from tests.tokenizer.multimodal.examples import (
    WIDTH,
    cosmos_folder,
    frames,
    image_tokenizer,
    joints,
    penn_action,
    video_folder,
    write_video,
)
from tokenizer import encode_multimodal
from tokenizer.multimodal.canvas import Canvas, to_images, to_tensor
from tokenizer.multimodal.captions import Blip, caption_text, caption_tokens
from tokenizer.multimodal.coordinates import decoded_coordinates
from tokenizer.multimodal.image_tokenizers import TorchScriptTokenizer, open_image_tokenizer
from tokenizer.multimodal.store import TokenStore
from tokenizer.multimodal.video_folder import decoded


def encode(videos: Path | str, images: Path, out: Path, *options: str) -> TokenStore:
    encode_multimodal.main([str(videos), "--images", str(images), "--out", str(out), *options])
    return TokenStore.read(out)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_tokenizer(tmp_path_factory.mktemp("images") / "images.safetensors")


def contents(root: Path) -> dict[str, str]:
    """Of all files below a folder."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_tokens_of_a_folder_of_videos(tmp_path: Path, images: Path) -> None:
    folder = video_folder(tmp_path / "videos")
    store = encode(folder, images, tmp_path / "tokens")
    assert store.modalities == ("tok_rgb", "tok_rgb_next", "coords", "coords_next", "captions")
    records = store.records()
    assert list(records) == ["0.mp4", "1.mp4", "2.mp4"]
    ids = [pair.id for record in records.values() for pair in record.pairs]
    assert ids == [f"{number:06}" for number in range(1, len(ids) + 1)]
    assert sum(store.manifest()["pairs"].values()) == len(ids)

    tokenizer = open_image_tokenizer(str(images))
    record = records["1.mp4"]
    video = list(decoded(folder / "1.mp4"))
    canvas = Canvas(*record.size)
    points, _ = joints(1)
    for pair in record.pairs:
        tokens = store.tokens(pair.id)
        for number, suffix in ((pair.reference, ""), (pair.successor, "_next")):
            expected = tokenizer.encode(to_tensor(canvas.image(video[number])[None]))[0]
            np.testing.assert_array_equal(tokens[f"tok_rgb{suffix}"], expected.numpy())
            assert tokens[f"tok_rgb{suffix}"].dtype == np.uint16  # type: ignore[union-attr]
            found, seen = decoded_coordinates(np.asarray(tokens[f"coords{suffix}"]))
            wanted = canvas.points(points[number])
            assert np.abs(found - wanted.clip(0, 256)).max() < 0.02
            assert not seen[~canvas.inside(wanted)].any()  # cut off
        assert tokens["captions"] == "a square jumps, number 1"
    written = next((tmp_path / "tokens").glob("*/captions/000001/captions.json"))
    assert json.loads(written.read_text()) == {"caption": "a square jumps, number 0"}
    assert next((tmp_path / "tokens").glob("*/coords/000001/coords.npy")).is_file()


def test_pairs_of_a_video_stay_together(tmp_path: Path, images: Path) -> None:
    store = encode(video_folder(tmp_path / "videos", 10), images, tmp_path / "tokens", "--without", "coords,captions")
    splits = {path.name: path.parents[1].name for path in (tmp_path / "tokens").glob("*/tok_rgb/*")}
    of_videos = [{splits[pair.id] for pair in record.pairs} for record in store.records().values()]
    assert all(len(found) == 1 for found in of_videos)
    assert sorted(found.pop() for found in of_videos) == ["eval", "test", *["train"] * 8]
    assert store.modalities == ("tok_rgb", "tok_rgb_next")


def test_penn_action(tmp_path: Path, images: Path) -> None:
    folder = penn_action(tmp_path / "penn", 4)
    (folder / "labels" / "0002.mat").unlink()
    (folder / "frames" / "0003" / "000008.jpg").unlink()
    store = encode(folder, images, tmp_path / "tokens", "--split", "pair", "--fit", "squash")
    records = store.records()
    assert "0002.mat is missing" in (records["0002"].left_out or "")
    assert "nframes 8, joints of 8 frames, and 7 images" in (records["0003"].left_out or "")
    assert store.manifest()["lines"][0] == [0, 7, 8]
    points, visible = joints(1)
    pair = records["0001"].pairs[-1]
    tokens = store.tokens(pair.id)
    found, seen = decoded_coordinates(np.asarray(tokens["coords_next"]))
    assert np.abs(found[:, 0] - points[pair.successor, :, 0] * 256 / WIDTH).max() < 0.02
    np.testing.assert_array_equal(seen, visible[pair.successor])


def test_what_cannot_be_used_is_left_out_and_listed(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = video_folder(tmp_path / "videos", 5)
    (folder / "0.mp4").write_bytes((folder / "0.mp4").read_bytes()[:300])
    (folder / "1.txt").write_text("word " * 40)
    points, visible = joints(2)
    points[4, 3], visible[4, 3] = (WIDTH * 2, 5), True
    np.savez(folder / "2.npz", points=points, visible=visible)
    points, visible = joints(3)
    points[5, 1, 0] = np.nan
    np.savez(folder / "3.npz", points=points, visible=visible)
    store = encode(folder, images, tmp_path / "tokens")
    printed = capsys.readouterr().out
    assert "0.mp4 cannot be decoded" in printed
    assert "1.mp4: a caption of 199 bytes has no place in 128 tokens" in printed
    assert "2.mp4 frame 4: joint 3 is said to be seen at (192, 5), which is off the 96 x 64 px image" in printed
    assert "3.mp4 frame 5: joint 1 has no finite coordinates" in printed
    assert "1 in all, 4 left out" in printed
    assert store.records()["4.mp4"].pairs[0].id == "000001"


def test_labels_of_another_video_are_noticed(tmp_path: Path, images: Path) -> None:
    folder = video_folder(tmp_path / "videos", 2)
    points, visible = joints(0, 7)
    np.savez(folder / "0.npz", points=points, visible=visible)
    records = encode(folder, images, tmp_path / "tokens").records()
    assert records["0.mp4"].left_out == "0.mp4: 7 frames are labelled, the video has 8"
    for path in folder.glob("*.mp4"):
        path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="none of 2 videos has a pair"):
        encode(folder, images, tmp_path / "other")


def test_a_run_that_was_killed_goes_on_with_the_same_result(tmp_path: Path, images: Path) -> None:
    folder = video_folder(tmp_path / "videos", 6)
    whole = encode(folder, images, tmp_path / "whole")
    command = [sys.executable, "-m", "tokenizer.encode_multimodal", str(folder)]
    command += ["--images", str(images), "--out", str(tmp_path / "killed")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "killed").glob("tok_rgb/000002/*.npy")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL  # it had not ended before
    encode(folder, images, tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(whole.root)


def test_half_a_video_and_half_a_line_are_made_again(tmp_path: Path, images: Path) -> None:
    folder = video_folder(tmp_path / "videos", 3)
    whole = encode(folder, images, tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    lines = (whole.root / "videos.jsonl").read_bytes().splitlines(keepends=True)
    again = tmp_path / "again"
    again.mkdir()
    manifest = whole.manifest()
    del manifest["split"], manifest["pairs"]
    (again / "manifest.json").write_text(json.dumps(manifest))
    (again / "videos.jsonl").write_bytes(lines[0] + lines[1][:50])
    for modality in whole.modalities:
        for pair in ("000001", "000099"):  # one that is recorded, one of a video that was not finished
            (again / modality / pair).mkdir(parents=True)
    encode(folder, images, again)
    found = contents(again)
    assert {name: of_one for name, of_one in found.items() if "json" not in name or "captions" in name} == {
        name: of_one for name, of_one in expected.items() if "json" not in name or "captions" in name
    }


def test_damaged_tokens_are_made_again_and_other_videos_are_not(tmp_path: Path, images: Path) -> None:
    folder = video_folder(tmp_path / "videos")
    store = encode(folder, images, tmp_path / "tokens")
    before = {name: of_one for name, of_one in contents(store.root).items() if not name.endswith(".jsonl")}
    damaged = next(store.root.glob("*/coords/000002/coords.npy"))
    damaged.write_bytes(damaged.read_bytes()[:-7])
    untouched = store.folder("tok_rgb", store.records()["2.mp4"].pairs[0].id) / "tok_rgb.npy"
    changed = untouched.stat().st_mtime_ns
    encode(folder, images, store.root)
    after = {name: of_one for name, of_one in contents(store.root).items() if not name.endswith(".jsonl")}
    assert after == before
    assert untouched.stat().st_mtime_ns == changed


def test_half_a_line_after_the_split_does_not_spoil_the_next(tmp_path: Path, images: Path) -> None:
    folder, out = video_folder(tmp_path / "videos"), tmp_path / "tokens"
    before = encode(folder, images, out).records()
    (damaged,) = out.glob("*/tok_rgb/000001/tok_rgb.npy")
    damaged.unlink()
    with open(out / "videos.jsonl", "a") as lines:
        lines.write('{"video": "0.m')
    assert encode(folder, images, out).records() == before
    assert damaged.exists()


@pytest.mark.parametrize(("name", "content", "says"), [
    ("1.npz", b"PK no archive", "no arrays points and visible"),
    ("1.txt", b"\xff\xfe caption", "no text in UTF-8"),
])  # fmt: skip
def test_damaged_labels_and_captions_leave_out_one_video(
    tmp_path: Path, images: Path, name: str, content: bytes, says: str
) -> None:
    folder = video_folder(tmp_path / "videos")
    (folder / name).write_bytes(content)
    records = encode(folder, images, tmp_path / "tokens").records()
    assert [video for video, record in records.items() if record.left_out] == ["1.mp4"]
    assert says in (records["1.mp4"].left_out or "")


@pytest.mark.parametrize("text", ["0 1\n1 head\n", "0 1 2\n", "0 1\n2\n", "-1 2\n"])
def test_lines_that_are_no_pairs_of_joints_are_refused(tmp_path: Path, images: Path, text: str) -> None:
    folder = video_folder(tmp_path / "videos", 1)
    (folder / "lines.txt").write_text(text)
    with pytest.raises(UserError, match="two numbers of joints"):
        encode(folder, images, tmp_path / "tokens")


def test_tokens_of_two_kinds_do_not_mix(tmp_path: Path, images: Path) -> None:
    folder = video_folder(tmp_path / "videos", 2)
    encode(folder, images, tmp_path / "tokens")
    with pytest.raises(UserError, match="made with fit 'crop', not 'squash'"):
        encode(folder, images, tmp_path / "tokens", "--fit", "squash")
    with pytest.raises(UserError, match="made with image_tokenizer"):
        encode(folder, cosmos_folder(tmp_path / "cosmos"), tmp_path / "tokens")
    write_video(folder / "9.mp4", frames(9))
    with pytest.raises(UserError, match=r"is split already, without 9\.mp4"):
        encode(folder, images, tmp_path / "tokens")


def test_a_torchscript_tokenizer(tmp_path: Path) -> None:
    folder = cosmos_folder(tmp_path / "cosmos")
    store = encode(video_folder(tmp_path / "videos", 2), folder, tmp_path / "tokens")
    tokens = np.asarray(store.tokens("000001")["tok_rgb"])
    assert (tokens.shape, tokens.dtype) == ((16, 16), np.uint16)
    assert tokens.max() > 32767  # more than a signed short
    tokenizer = open_image_tokenizer(str(folder))
    image = to_images(tokenizer.decode(torch.from_numpy(tokens.astype(np.int64))[None]))
    assert image.shape == (1, 256, 256, 3)
    assert "float32" in tokenizer.name
    assert open_image_tokenizer(str(folder), torch.bfloat16).name != tokenizer.name


class _Floats(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images


class _TooLarge(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.full((images.shape[0], 16, 16), 64000)


def test_a_wrong_tokenizer_file_is_refused(tmp_path: Path, images: Path) -> None:
    with pytest.raises(UserError, match=r"lacks encoder\.jit and decoder\.jit; put Cosmos' files there"):
        TorchScriptTokenizer(tmp_path)
    with pytest.raises(UserError, match=r"gives torch.float32 \(1, 3, 256, 256\), not whole numbers"):
        TorchScriptTokenizer(cosmos_folder(tmp_path / "floats", _Floats()))
    with pytest.raises(UserError, match="gives ids 64000 to 64000; they must be below 64000"):
        TorchScriptTokenizer(cosmos_folder(tmp_path / "large", _TooLarge()))
    (cosmos_folder(tmp_path / "broken") / "decoder.jit").write_bytes(b"no archive")
    with pytest.raises(UserError, match="is no TorchScript file"):
        TorchScriptTokenizer(tmp_path / "broken")
    with pytest.raises(UserError, match="no image tokenizer at nowhere"):
        open_image_tokenizer("nowhere")
    with pytest.raises(UserError, match="another one's"):
        open_image_tokenizer(str(images)).decode(torch.full((1, 8, 8), 20))


def test_captions_as_tokens() -> None:
    for text in ("put the bowl on the stove", "Öffne die Schublade"):
        assert caption_text(caption_tokens(text, 64)) == text
    with pytest.raises(UserError, match="the caption is empty"):
        caption_tokens("  ")


def test_blip_without_transformers_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match="pip install transformers"):
        Blip()
