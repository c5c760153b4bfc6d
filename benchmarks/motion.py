"""How fast motions are encoded and decoded, on one core.

  python -m benchmarks.motion checkpoints/joints-arm.safetensors

Frames a second of clips in batches; and streaming: a window of the newest frames is encoded, and its codes decoded,
each time that a frame has come, with the time that this takes.
"""

import json
import time
from pathlib import Path

import numpy as np
import torch

from common import cli
from tokenizer.joints.model import JointTokenizer


def batch_rate(tokenizer: JointTokenizer, batch: int, repeats: int) -> dict[str, float]:
    """Frames a second, encoded and decoded, in batches of whole windows."""
    size = tokenizer.config.window_size
    motion = torch.randn(batch, size, len(tokenizer.mean)) * tokenizer.std + tokenizer.mean
    codes = tokenizer.encode(motion)
    rates = {}
    for name, run, given in (("encoded", tokenizer.encode, motion), ("decoded", tokenizer.decode, codes)):
        run(given)
        started = time.perf_counter()
        for _ in range(repeats):
            run(given)
        rates[f"{name}_frames_per_second"] = batch * size * repeats / (time.perf_counter() - started)
    return rates


def streaming(tokenizer: JointTokenizer, frames: int) -> dict[str, float]:
    """Frames a second, and milliseconds for one, when the newest window is encoded and decoded at each frame."""
    size = tokenizer.config.window_size
    motion = torch.randn(frames + size, len(tokenizer.mean)) * tokenizer.std + tokenizer.mean
    taken = []
    for frame in range(frames):
        started = time.perf_counter()
        tokenizer.decode(tokenizer.encode(motion[None, frame : frame + size]))
        taken.append(time.perf_counter() - started)
    milliseconds = np.array(taken[10:]) * 1e3
    return {
        "frames_per_second": 1e3 / float(milliseconds.mean()),
        "latency_ms_p50": float(np.percentile(milliseconds, 50)),
        "latency_ms_p99": float(np.percentile(milliseconds, 99)),
    }


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("benchmarks.motion", __doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a joint tokenizer")
    parser.add_argument("--batch", type=cli.positive, default=64, metavar="N", help="windows at once (default 64)")
    parser.add_argument("--repeats", type=cli.positive, default=20, metavar="N", help="batches (default 20)")
    parser.add_argument("--frames", type=cli.positive, default=1000, metavar="N", help="streamed (default 1000)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    tokenizer = JointTokenizer.load(args.checkpoint)
    found = {"batch": batch_rate(tokenizer, args.batch, args.repeats), "streaming": streaming(tokenizer, args.frames)}
    for kind, measures in found.items():
        print(f"{kind:<10}" + "  ".join(f"{name} {value:.4g}" for name, value in measures.items()))
    print(json.dumps(found))


if __name__ == "__main__":
    cli.run(main)
