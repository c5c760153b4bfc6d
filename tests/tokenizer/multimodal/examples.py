"""Small videos, demonstrations and image tokenizers for the tests of the multimodal family."""

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch
from PIL import Image
from scipy.io import savemat
from torch import Tensor, nn

from tokenizer import encode_multimodal, train_multimodal
from tokenizer.multimodal.image_model import KIND, FsqImageTokenizer, ImageTokenizerConfig
from training import checkpoint
from training.typed_config import to_mapping

WIDTH, HEIGHT, JOINTS = 96, 64, 13


def frames(seed: int, count: int = 8) -> np.ndarray:
    """(count, HEIGHT, WIDTH, 3): a bright square that jumps over a pattern."""
    rng = np.random.default_rng(seed)
    images = np.repeat(rng.integers(0, 200, (1, HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8), count, 0)
    images = images.repeat(8, 1).repeat(8, 2)
    for image in images:
        x, y = rng.integers(0, WIDTH - 40), rng.integers(0, HEIGHT - 40)
        image[y : y + 40, x : x + 40] = rng.integers(200, 256, 3)
    return images


def joints(seed: int, count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Points (count, 13, 2) in the image, and whether they are seen."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, (WIDTH, HEIGHT), (count, JOINTS, 2)), rng.random((count, JOINTS)) < 0.8


def write_video(path: Path, images: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoder = imageio_ffmpeg.write_frames(str(path), (WIDTH, HEIGHT), fps=10, macro_block_size=1)
    encoder.send(None)
    for image in images:
        encoder.send(np.ascontiguousarray(image))
    encoder.close()


def video_folder(folder: Path, videos: int = 3) -> Path:
    """Videos ``0.mp4`` and so on, with joints and captions."""
    for number in range(videos):
        write_video(folder / f"{number}.mp4", frames(number))
        points, visible = joints(number)
        np.savez(folder / f"{number}.npz", points=points, visible=visible)
        (folder / f"{number}.txt").write_text(f"a square jumps, number {number}\n")
    (folder / "lines.txt").write_text("0 1\n1 2\n")
    return folder


def penn_action(folder: Path, videos: int = 2) -> Path:
    """Penn Action's layout."""
    for number in range(1, videos + 1):
        name = f"{number:04}"
        (folder / "frames" / name).mkdir(parents=True)
        (folder / "labels").mkdir(exist_ok=True)
        for index, image in enumerate(frames(number), 1):
            Image.fromarray(image).save(folder / "frames" / name / f"{index:06}.jpg", quality=95)
        points, visible = joints(number)
        labels = {"x": points[..., 0], "y": points[..., 1], "visibility": visible.astype(np.float64)}
        labels |= {"nframes": 8, "dimensions": [HEIGHT, WIDTH, 8]}
        savemat(folder / "labels" / f"{name}.mat", labels)
    return folder


class _Encoder(nn.Module):
    """The brightness of each patch, as 64000 ids, and something beside them as Cosmos gives it."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        means = nn.functional.avg_pool2d(images.mean(1, keepdim=True), 16)[:, 0]
        return ((means + 1) / 2 * 63999).round().to(torch.int32), means


class _Decoder(nn.Module):
    def forward(self, ids: Tensor) -> Tensor:
        means = ids.float() / 63999 * 2 - 1
        return means[:, None].repeat_interleave(16, 2).repeat_interleave(16, 3).expand(-1, 3, -1, -1)


def cosmos_folder(folder: Path, encoder: nn.Module | None = None) -> Path:
    """TorchScript files of Cosmos' interface."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.jit.script(encoder or _Encoder()).save(str(folder / "encoder.jit"))
    torch.jit.script(_Decoder()).save(str(folder / "decoder.jit"))
    return folder


def image_tokenizer(path: Path) -> Path:
    """A checkpoint with random weights: 64 ids an image, 20 of them."""
    torch.manual_seed(0)
    model = FsqImageTokenizer(ImageTokenizerConfig(levels=(5, 4), width=16, blocks=1, stride=32))
    checkpoint.save(path, KIND, {"model": to_mapping(model.config)}, checkpoint.unique_weights(model))
    return path


TINY_MODEL = [
    "modalities=[tok_rgb,coords,tok_rgb_next,coords_next,captions]",
    "vocab_sizes=[300,300,300,300,300]",
    "ids=[20,256,20,256,258]",
    "flags=[0,13,0,13,0]",
    "max_seq_lens=[64,39,64,39,48]",
    "input_alphas=[1,1,1,1,1]",
    "target_alphas=[1,1,1,1,1]",
    "dim=16",
    "enc_depth=1",
    "dec_depth=1",
    "head_dim=8",
]


def token_folder(folder: Path) -> Path:
    """The tokens of ten videos, split."""
    images = image_tokenizer(folder / "images.safetensors")
    options = ["--images", str(images), "--out", str(folder / "tokens"), "--bins", "256", "--caption-length", "48"]
    encode_multimodal.main([str(video_folder(folder / "videos", 10)), *options])
    return folder / "tokens"


def train(folder: Path, *settings: str, run: str = "tiny", tokens: Path | None = None) -> Path:
    """A masked model that was trained for a few steps."""
    given = {setting.partition("=")[0] for setting in settings}
    small = [
        "max_steps=3",
        "batch_size=8",
        "accelerator=cpu",
        "threads=1",
        "log_interval=1",
        "val_batches=1",
        *TINY_MODEL,
    ]
    names = [f"run_name={run}", f"runs_root={folder}/runs", f"train_datasets=[{tokens or folder / 'tokens'}]"]
    train_multimodal.main([*names, *(one for one in small if one.partition("=")[0] not in given), *settings])
    return folder / "runs" / "masked_model" / run / "latest.safetensors"
