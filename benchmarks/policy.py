"""Measure how fast a policy acts, beside the plain algorithm, which sees the whole sequence anew for every code.

All ways compute the same weights, one call of each in turn, so that whatever else the machine does meets all. Printed
are milliseconds (the quickest call, and the middle one), how many times quicker than plain the middle one is, and the
part of the codes that equal plain's, on random images. Then where the time goes, beside the floor: the operations over
the rate at which this machine multiplies large matrices, or the weights over that at which it reads memory, whichever
takes longer; and the memory that loading takes at its peak.

  python -m benchmarks.policy                            the published size, random weights
  python -m benchmarks.policy --checkpoint checkpoints/default.safetensors
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from common.cli import CommandParser, run
from policy.amplify import Amplify
from policy.bundle import save_bundle
from policy.forward_dynamics import ForwardConfig, ForwardDynamics
from policy.inverse_dynamics import InverseConfig
from policy.load import build, load_policy
from policy.runtimes.export import export
from policy.runtimes.onnx_policy import OnnxPolicy
from tokenizer.tracks.model import TokenizerConfig
from training import checkpoint

Acting = Amplify | OnnxPolicy
STAGES = ("vision", "prefix", "decoding", "inverse")


def plain_predict(model: ForwardDynamics, condition: Tensor) -> Tensor:
    """Condition (b, c, dim) -> indices (b, codes), the trunk over the whole sequence for every one, as published."""
    sequence = torch.cat([condition, model.sos_token.expand(len(condition), -1, -1)], 1)
    indices: list[Tensor] = []
    for _ in range(model.num_codes):
        indices.append(model.unembed.likeliest(model.unembed(model.trunk(sequence)[:, -1:])))
        sequence = torch.cat([sequence, model.quantize.indices_to_codes(indices[-1])], 1)
    return torch.cat(indices, 1)


def plain(path: Path) -> Amplify:
    """The bundle with plain decoding, and torch as it comes."""
    policy = build(checkpoint.read(path, "bundle"))
    policy.forward_dynamics.predict = lambda condition, *_: plain_predict(policy.forward_dynamics, condition)  # type: ignore[method-assign,assignment]
    return policy


def published_size(path: Path) -> None:
    """Writes a bundle of the published size with random weights and embeddings."""
    torch.manual_seed(0)
    texts = {f"task {i}": torch.randn(512) for i in range(16)}
    save_bundle(
        Amplify(TokenizerConfig(), ForwardConfig(), InverseConfig(), True, "published size", text_embeddings=texts),
        path,
    )


class Observations:
    """Random images in squares of eight pixels, proprioception and instructions."""

    def __init__(self, policy: Amplify, count: int):
        rng = np.random.default_rng(0)
        height, width = (side // 8 for side in policy.image_size)
        squares = rng.integers(0, 256, (count, len(policy.views), height, width, 3), dtype=np.uint8)
        self.images = squares.repeat(8, 2).repeat(8, 3)
        self.proprio = rng.normal(size=(count, policy.inverse_dynamics.config.proprio_dim)).astype(np.float32)
        texts = list(policy.known_instructions.embeddings or policy.origin.instructions or ("pick up the can",))
        self.texts = [texts[i % len(texts)] for i in range(count)]

    def act(self, policy: Acting, batch: int) -> None:
        policy.act(self.images[:batch], self.proprio[:batch], self.texts[:batch])


def in_turn(calls: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every call of each, after one that does not count."""
    for call in calls.values():
        call()
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            spent[name].append(time.perf_counter() - began)
    return spent


def stages(policy: Acting, seen: Observations) -> dict[str, Callable[[], None]]:
    """What is done up to the end of each stage but the last, batch 1; the last ends with ``act``."""
    images, texts = seen.images[:1], seen.texts[:1]
    if isinstance(policy, OnnxPolicy):
        pixels = policy._pixels(images)
        inputs = {"pixels": pixels, "text": policy._prepared(policy.manifest.forward_text, texts, 1)}
        stretch = policy._see.run(None, inputs)[0]
        return {
            "vision": lambda: policy._see.run(None, inputs),
            "prefix": lambda: policy.begin(stretch),
            "decoding": lambda: policy.predict_codes(images, texts),
        }
    model = policy.forward_dynamics
    pixels, text = policy._images(images), policy._instructions(texts, 1)
    with policy._computing():
        encoded = torch.cat([model.encode(pixels, text), model.sos_token], 1)

    def computing(call: Callable[[], object]) -> Callable[[], None]:
        def computed() -> None:
            with policy._computing():
                call()

        return computed

    return {
        "vision": computing(lambda: model.encode(pixels, text)),
        "prefix": computing(lambda: model.trunk(encoded, model.trunk.make_caches(), slice(-1, None))),
        "decoding": computing(lambda: policy._predict(pixels, texts)),
    }


def split(policy: Acting, seen: Observations, rounds: int) -> list[float]:
    """Milliseconds of each stage."""
    spent = in_turn(stages(policy, seen) | {"act": lambda: seen.act(policy, 1)}, rounds)
    vision, prefix, predicted, acted = (1000 * median(times) for times in spent.values())
    return [vision, prefix, predicted - vision - prefix, acted - predicted]


def floor(policy: Amplify, seen: Observations) -> list[float]:
    """The least milliseconds of each stage in float32 on this machine: see the module's description."""
    square = torch.randn(1024, 1024)
    block = torch.ones(100_000_000)
    rates = in_turn({"multiply": lambda: square @ square, "read": lambda: block.sum()}, 5)  # type: ignore[dict-item,return-value]
    per_second = 2 * 1024**3 / min(rates["multiply"])
    bytes_per_second = block.nbytes / min(rates["read"])
    print(f"this machine: {per_second / 1e9:.0f} GFLOP/s of large matrices, reads {bytes_per_second / 1e9:.0f} GB/s")
    counted = {}
    for name, call in (stages(policy, seen) | {"act": lambda: seen.act(policy, 1)}).items():
        with FlopCounterMode(display=False) as counter:
            call()
        counted[name] = counter.get_total_flops()
    operations = [
        counted["vision"],
        counted["prefix"],
        counted["decoding"] - counted["vision"] - counted["prefix"],
        counted["act"] - counted["decoding"],
    ]
    forward, inverse = policy.forward_dynamics, policy.inverse_dynamics
    trunk = 4 * sum(weight.numel() for weight in [*forward.trunk.parameters(), forward.unembed.weight])
    head = 4 * sum(weight.numel() for weight in inverse.head.parameters())
    vision = 4 * sum(weight.numel() for weight in forward.vision_encoder.parameters())
    read = [vision, trunk, trunk * forward.num_codes, head]
    print("operations (GFLOP): " + ", ".join(f"{n} {o / 1e9:.2f}" for n, o in zip(STAGES, operations, strict=True)))
    return [1000 * max(o / per_second, r / bytes_per_second) for o, r in zip(operations, read, strict=True)]


def row(name: str, values: Sequence[float], form: str = "9.1f") -> None:
    print(f"{name:>16s}" + "".join(f"{value:{form}}" for value in values), flush=True)


LOADING = """
import sys
import numpy, torch
from {module} import {name}
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
before = peak()
policy = {name}(sys.argv[1])
print(peak() - before)
"""
"""MiB at the peak of loading, above what the process has with its libraries; resource.getrusage would tell its
parent's."""


def loading(name: str, path: Path, module: str, opener: str) -> None:
    """Prints the peak of memory while loading, above what the process has with its libraries, in a fresh process."""
    script = LOADING.format(module=module, name=opener)
    told = subprocess.run([sys.executable, "-c", script, str(path)], check=True, capture_output=True, text=True).stdout
    files = [path] if path.is_file() else list(path.iterdir())
    size = sum(file.stat().st_size for file in files) / 2**20
    print(f"loading {name}: {float(told):.0f} MiB at the peak, {float(told) / size:.2f} of the {size:.0f} MiB on disk")


def main(argv: list[str]) -> None:
    """The command."""
    parser = CommandParser("benchmarks.policy", __doc__)
    parser.add_argument("--checkpoint", type=Path, help="bundle (default: the published size with random weights)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="calls of each way")
    parser.add_argument("--samples", type=int, default=16, help="observations whose codes are compared")
    parser.add_argument("--batches", type=int, nargs="*", default=[8, 32], help="further batch sizes")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        path = args.checkpoint or Path(temporary) / "policy.safetensors"
        if args.checkpoint is None:
            published_size(path)
        torch.set_num_threads(args.threads)
        ways: dict[str, Acting] = {
            "plain": plain(path),
            "torch fp32": load_policy(path, threads=args.threads),
            "torch bf16": load_policy(path, threads=args.threads, precision="bf16"),
        }
        for precision in ("fp32", "int8"):
            folder = Path(temporary) / precision
            export(build(checkpoint.read(path, "bundle")), folder, precision)
            ways[f"onnx {precision}"] = OnnxPolicy(folder, args.threads)
        torch.set_num_threads(args.threads)
        reference = ways["plain"]
        assert isinstance(reference, Amplify)
        seen = Observations(reference, max([args.samples, *args.batches]))
        images, texts = seen.images[: args.samples], seen.texts[: args.samples]
        codes = {name: policy.predict_codes(images, texts)[0] for name, policy in ways.items()}
        different = len(np.unique(codes["plain"], axis=0))
        print(f"{len(images)} observations have {different} different rows of codes")
        for batch in (1, *args.batches):
            spent = in_turn(
                {name: lambda policy=policy, batch=batch: seen.act(policy, batch) for name, policy in ways.items()},  # type: ignore[misc]
                args.rounds if batch == 1 else 1,
            )
            print(f"\nbatch {batch}, {args.threads} threads\n{'':16s}  min ms   median    times  equal %")
            for name, times in spent.items():
                equal = (codes[name] == codes["plain"]).mean()
                row(
                    name, [1000 * min(times), 1000 * median(times), median(spent["plain"]) / median(times), 100 * equal]
                )
        print(f"\nwhere the time goes, batch 1, median ms\n{'':16s}" + "".join(f"{stage:>9s}" for stage in STAGES))
        for name, policy in ways.items():
            row(name, split(policy, seen, args.rounds))
        row("floor", floor(build(checkpoint.read(path, "bundle")), seen))
        del ways, reference
        print()
        loading("the bundle", path, "policy", "load_policy")
        loading("its export", Path(temporary) / "fp32", "policy.runtimes.onnx_policy", "OnnxPolicy")


if __name__ == "__main__":
    run(main)
