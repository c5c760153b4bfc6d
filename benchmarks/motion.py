"""How fast motions are encoded and decoded, on one core.

  python -m benchmarks.motion checkpoints/joints-arm.safetensors checkpoints/body.safetensors

Frames a second of motions in batches; and streaming, with the time that each frame takes: of a joint tokenizer, the
window of the newest frames is encoded and its codes decoded each time that a frame has come; a Motion VAE takes the
frame alone and goes on from the ones before, a vector and four frames with every fourth. Milliseconds are by the clock,
and by the processor, which is what they would be on a core of one's own.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common import cli
from common.errors import UserError
from tokenizer.body.model import BodyTokenizer
from tokenizer.body.streaming import BodyStream
from tokenizer.interface import Tokenizer
from tokenizer.joints.model import JointTokenizer
from tokenizer.load import load_tokenizer

BODY_FRAMES = 152
"""A Motion VAE's motion: five seconds."""


def motions_of(tokenizer: Tokenizer, count: int) -> Tensor:
    """Random motions (count, t, d) as long as those of training."""
    if isinstance(tokenizer, JointTokenizer):
        size = tokenizer.config.window_size
        return torch.randn(count, size, len(tokenizer.mean)) * tokenizer.std + tokenizer.mean
    assert isinstance(tokenizer, BodyTokenizer)
    return torch.randn(count, BODY_FRAMES, tokenizer.config.input_dim) / 2


def batch_rate(tokenizer: Tokenizer, batch: int, repeats: int) -> dict[str, float]:
    """Frames a second, encoded and decoded."""
    motion = motions_of(tokenizer, batch)
    codes = tokenizer.encode(motion)
    ways: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
        "encoded": (tokenizer.encode, motion),
        "decoded": (tokenizer.decode, codes),
    }
    rates = {}
    for name, (run, given) in ways.items():
        run(given)
        started = time.perf_counter()
        for _ in range(repeats):
            run(given)
        rates[f"{name}_frames_per_second"] = batch * motion.shape[1] * repeats / (time.perf_counter() - started)
    return rates


def streaming(tokenizer: Tokenizer, frames: int) -> dict[str, float]:
    """Frames a second, and milliseconds for one."""
    step = _stepper(tokenizer, frames)
    taken = []
    for frame in range(frames):
        started = time.perf_counter(), time.process_time()
        step(frame)
        taken.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    clock, processor = np.array(taken[10:]).T * 1e3
    return {
        "frames_per_second": 1e3 / float(clock.mean()),
        "latency_ms_p50": float(np.percentile(clock, 50)),
        "latency_ms_p99": float(np.percentile(clock, 99)),
        "processor_ms_p99": float(np.percentile(processor, 99)),
    }


def _stepper(tokenizer: Tokenizer, frames: int) -> Callable[[int], Tensor]:
    """What is done when a frame has come."""
    if isinstance(tokenizer, BodyTokenizer):
        stream, body = BodyStream(tokenizer), torch.randn(1, frames, tokenizer.config.input_dim) / 2
        return lambda frame: stream.decode(stream.encode(body[:, frame : frame + 1]))
    window = motions_of(tokenizer, 1)
    motion = window.repeat(1, frames // window.shape[1] + 2, 1)
    return lambda frame: tokenizer.decode(tokenizer.encode(motion[:, frame : frame + window.shape[1]]))


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("benchmarks.motion", __doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="joint and body tokenizers")
    parser.add_argument("--batch", type=cli.positive, default=64, metavar="N", help="motions at once (default 64)")
    parser.add_argument("--repeats", type=cli.positive, default=20, metavar="N", help="batches (default 20)")
    parser.add_argument("--frames", type=cli.positive, default=1000, metavar="N", help="streamed (default 1000)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    for path in args.checkpoints:
        tokenizer = load_tokenizer(path)
        if not isinstance(tokenizer, JointTokenizer | BodyTokenizer):
            raise UserError(f"{path} is of point tracks; python -m benchmarks.tokenizer measures these")
        rates = batch_rate(tokenizer, args.batch, args.repeats)
        found = {"batch": rates, "streaming": streaming(tokenizer, args.frames)}
        print(path)
        for kind, measures in found.items():
            print(f"{kind:<10}" + "  ".join(f"{name} {value:.4g}" for name, value in measures.items()))
        print(json.dumps({"checkpoint": str(path), **found}))


if __name__ == "__main__":
    cli.run(main)
