"""Measure how fast the track tokenizer trains, beside the plain ways.

loader: samples a second read from the HDF5 files as they are, and from one memory-mapped file of 16-bit tracks, turn by
turn; and how long that file takes to make.
step: one training step at the published size, beside the decoder as it is published: three feature vectors for every
point, through all Linears. Time, peak memory (each in a process of its own, above what the process has before the first
step) and the largest difference of the losses; then how both grow with points and time steps.
"""

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common.cli import CommandParser, run
from demos.packed_tracks import PackedTracks
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.motion import motion_classes, points_to_velocities
from tokenizer.tracks.options import TokenizerConfig
from tokenizer.tracks.recipe import track_frames
from training.config import TrainingConfig


def loader(datasets: str, demos_root: str, tracks_root: str, seconds: float, batch: int) -> None:
    """Prints samples a second of both ways, and their ratio."""
    roots = TrainingConfig(run_name="", train_datasets=(), demos_root=demos_root, tracks_root=tracks_root)
    frames = track_frames(roots, datasets, TokenizerConfig())
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        packed = PackedTracks(frames, Path(folder))
        print(
            f"{len(frames)} frames of {len(frames.episodes)} episodes packed in {time.perf_counter() - started:.0f} s"
        )
        ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "HDF5 files": lambda indices: frames.frames_in_batch(indices)["tracks"],
            "one mapped file": packed.tracks_in_batch,
        }
        rng = np.random.default_rng(0)
        samples, spent = dict.fromkeys(ways, 0), dict.fromkeys(ways, 0.0)
        while min(spent.values()) < seconds:
            indices = rng.integers(len(frames), size=batch)
            name = min(ways, key=lambda name: spent[name])
            began = time.perf_counter()
            ways[name](indices)
            spent[name] += time.perf_counter() - began
            samples[name] += batch
    rates = {name: samples[name] / spent[name] for name in ways}
    for name, rate in rates.items():
        print(f"{name:>16s} {rate:8.0f} samples/s")
    print(f"{'ratio':>16s} {rates['one mapped file'] / rates['HDF5 files']:8.1f}")


def plain_loss(model: MotionTokenizer, points: Tensor) -> Tensor:
    """The training loss with the decoder as published: y -> decoder_proj(y + decoder_mlp([y, track, view]))."""
    c, decoder = model.config, model.decoder
    codes, _ = model.encode(points_to_velocities(points))
    y = decoder.decoder(torch.zeros_like(codes), codes)
    shape = (len(y), len(c.views), y.shape[1], c.num_tracks, c.hidden_dim)
    time_part = y[:, None, :, None].expand(shape)
    track_part = decoder.track_pos_emb.weight[None, None, None].expand(shape)
    view_part = decoder.view_emb.weight[None, :, None, None].expand(shape)
    logits = decoder.decoder_proj(time_part + decoder.decoder_mlp(torch.cat([time_part, track_part, view_part], -1)))
    classes = motion_classes(points[:, :, :-1], points[:, :, 1:], c.img_shape, c.rel_cls_img_size)
    losses = F.cross_entropy(logits.flatten(0, 3), classes.flatten(), reduction="none").view(classes.shape)
    weights = torch.tensor([c.loss_weights[view] for view in c.views])
    return (losses.mean((0, 2, 3)) * weights).sum()


def our_loss(model: MotionTokenizer, points: Tensor) -> Tensor:
    """The training loss as the trainer computes it."""
    return model(points).loss


LOSSES: dict[str, Callable[[MotionTokenizer, Tensor], Tensor]] = {"published": plain_loss, "ours": our_loss}


def _measure(answer: Connection, name: str, config: TokenizerConfig, batch: int, steps: int, threads: int) -> None:
    """Sends the losses, seconds of the quickest step and its peak memory (MiB)."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = MotionTokenizer(config)
    shape = (batch, len(config.views), config.track_pred_horizon, config.num_tracks, 2)
    points = torch.rand(shape) * 0.05 + torch.rand(*shape[:2], 1, *shape[3:]) * 1.8 - 0.9
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    losses, quickest = [], float("inf")
    for _ in range(steps):
        began = time.perf_counter()
        loss = LOSSES[name](model, points)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        quickest = min(quickest, time.perf_counter() - began)
        losses.append(loss.item())
    answer.send((losses, quickest, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))


def measured(
    name: str, config: TokenizerConfig, batch: int, steps: int, threads: int
) -> tuple[list[float], float, float]:
    """Losses, seconds a step and peak memory (MiB) of one way, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(there, name, config, batch, steps, threads))
    process.start()
    there.close()
    found = here.recv()
    process.join()
    return found


def step(width: int, batch: int, steps: int, threads: int, sizes: list[tuple[int, int]]) -> None:
    """Prints both ways at each size (points, time steps), and their ratios."""
    print(f"width {width}, 2 views, batch {batch}, {threads} threads, the quickest of {steps} steps")
    print(f"{'points':>8s}{'steps':>7s}{'published':>22s}{'ours':>22s}{'time':>9s}{'memory':>9s}{'loss':>11s}")
    for points, horizon in sizes:
        config = TokenizerConfig(
            hidden_dim=width,
            num_tracks=points,
            true_horizon=horizon + 1,
            track_pred_horizon=horizon + 1,
            attn_pdrop=0.0,
        )
        found = {name: measured(name, config, batch, steps, threads) for name in LOSSES}
        (losses, plain, memory), (our_losses, ours, our_memory) = found["published"], found["ours"]
        apart = max(abs(a - b) for a, b in zip(losses, our_losses, strict=True))
        print(
            f"{points:8d}{horizon:7d}{plain:10.2f} s{memory:7.0f} MiB{ours:10.2f} s{our_memory:7.0f} MiB"
            f"{plain / ours:8.1f}x{memory / our_memory:8.1f}x{apart:11.1e}",
            flush=True,
        )


def main(argv: list[str]) -> None:
    """The command."""
    parser = CommandParser("benchmarks.tokenizer", __doc__)
    parser.add_argument("what", nargs="*", metavar="what", default=["step"], help="loader step")
    parser.add_argument("--datasets", default="[libero_10:traj1]", help="demonstrations with tracks, for loader")
    parser.add_argument("--demos-root", default="data/demos", metavar="DIR")
    parser.add_argument("--tracks-root", default="data/tracks", metavar="DIR")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each way of loader")
    parser.add_argument("--width", type=int, default=768, help="of the model, for step")
    parser.add_argument("--batch", type=int, default=8, help="of step")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--points", type=int, nargs="+", default=[400, 200, 100])
    parser.add_argument("--horizons", type=int, nargs="+", default=[15, 8])
    args = parser.parse_args(argv)
    if unknown := set(args.what) - {"loader", "step"}:
        parser.error(f"no benchmark {', '.join(unknown)}; there are loader and step")
    if "loader" in args.what:
        loader(args.datasets, args.demos_root, args.tracks_root, args.seconds, 96)
    if "step" in args.what:
        largest = max(args.points), max(args.horizons)
        sizes = [largest]
        sizes += [(points, largest[1]) for points in args.points if points != largest[0]]
        sizes += [(largest[0], horizon) for horizon in args.horizons if horizon != largest[1]]
        step(args.width, args.batch, args.steps, args.threads, sizes)


if __name__ == "__main__":
    run(main)
