"""Measure how fast the track tokenizer trains, beside the plain ways.

loader: samples a second read from the HDF5 files as they are, and from one memory-mapped file of 16-bit tracks, turn by
turn; and how long that file takes to make.
step: one training step at the published size, beside the decoder as it is published: three feature vectors for every
point, through all Linears. Each works in a process of its own, one step of either in turn, so that whatever else the
machine does meets both. Seconds by the clock, and by the processor; peak memory above what the process has before the
first step; the largest difference of the losses; then how all grow with points and time steps.
"""

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common.cli import CommandParser, run
from demos.packed_tracks import PackedTracks
from demos.roots import DataRoots
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.motion import motion_classes, points_to_velocities
from tokenizer.tracks.options import TokenizerConfig
from tokenizer.tracks.recipe import track_frames


def loader(datasets: str, roots: DataRoots, seconds: float, batch: int) -> None:
    """Prints samples a second of both ways, and their ratio."""
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


class Measured(NamedTuple):
    """What the steps of one way came to."""

    losses: list[float]
    clock: float
    """seconds of the quickest step"""
    processor: float
    """seconds that the processor worked on the cheapest step, threads added up"""
    memory: float
    """MiB at the peak, above what the process has before the first step"""


def _work(orders: Connection, name: str, config: TokenizerConfig, batch: int, threads: int) -> None:
    """Makes one step for every order, and answers with its loss, seconds, processor seconds and the peak so far."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = MotionTokenizer(config)
    shape = (batch, len(config.views), config.track_pred_horizon, config.num_tracks, 2)
    points = torch.rand(shape) * 0.05 + torch.rand(*shape[:2], 1, *shape[3:]) * 1.8 - 0.9
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while orders.recv():
        began, worked = time.perf_counter(), time.process_time()
        loss = LOSSES[name](model, points)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        spent = time.perf_counter() - began, time.process_time() - worked
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        orders.send((loss.item(), *spent, peak))


def measured(config: TokenizerConfig, batch: int, steps: int, threads: int) -> dict[str, Measured]:
    """Both ways, each in a process of its own, a step of one and a step of the other in turn."""
    context = multiprocessing.get_context("spawn")
    orders, processes = {}, []
    for name in LOSSES:
        orders[name], there = context.Pipe()
        processes.append(context.Process(target=_work, args=(there, name, config, batch, threads)))
        processes[-1].start()
        there.close()
    found: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in LOSSES}
    for _ in range(steps):
        for name, connection in orders.items():
            connection.send(True)
            found[name].append(connection.recv())
    for connection, process in zip(orders.values(), processes, strict=True):
        connection.send(False)
        process.join()
    results = {}
    for name, answers in found.items():
        losses, clock, processor, memory = zip(*answers, strict=True)
        results[name] = Measured(list(losses), min(clock), min(processor), max(memory))
    return results


def step(width: int, batch: int, steps: int, threads: int, sizes: list[tuple[int, int]]) -> None:
    """Prints both ways at each size (points, time steps), and their ratios."""
    print(f"width {width}, 2 views, batch {batch}, {threads} threads, the quickest of {steps} steps each, in turn")
    print(
        f"{'points':>8s}{'steps':>7s}{'published':>22s}{'ours':>22s}{'clock':>9s}{'processor':>11s}{'memory':>9s}"
        f"{'loss':>10s}"
    )
    for points, horizon in sizes:
        config = TokenizerConfig(
            hidden_dim=width,
            num_tracks=points,
            true_horizon=horizon + 1,
            track_pred_horizon=horizon + 1,
            attn_pdrop=0.0,
        )
        found = measured(config, batch, steps, threads)
        plain, ours = found["published"], found["ours"]
        apart = max(abs(a - b) for a, b in zip(plain.losses, ours.losses, strict=True))
        print(
            f"{points:8d}{horizon:7d}{plain.clock:10.2f} s{plain.memory:7.0f} MiB{ours.clock:10.2f} s"
            f"{ours.memory:7.0f} MiB{plain.clock / ours.clock:8.1f}x{plain.processor / ours.processor:10.1f}x"
            f"{plain.memory / ours.memory:8.1f}x{apart:10.1e}",
            flush=True,
        )


def main(argv: list[str]) -> None:
    """The command."""
    parser = CommandParser("benchmarks.tokenizer", __doc__)
    parser.add_argument("what", nargs="*", metavar="what", default=["step"], help="loader step")
    parser.add_argument("--datasets", default="[libero_10:traj1]", help="demonstrations with tracks, for loader")
    DataRoots.add_options(parser)
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
        loader(args.datasets, DataRoots.of_options(args), args.seconds, 96)
    if "step" in args.what:
        largest = max(args.points), max(args.horizons)
        sizes = [largest]
        sizes += [(points, largest[1]) for points in args.points if points != largest[0]]
        sizes += [(largest[0], horizon) for horizon in args.horizons if horizon != largest[1]]
        step(args.width, args.batch, args.steps, args.threads, sizes)


if __name__ == "__main__":
    run(main)
