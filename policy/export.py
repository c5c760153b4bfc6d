"""Writes a policy as ONNX graphs, so that it runs with numpy and ONNX Runtime alone, without torch.

  python -m policy.export checkpoints/default.safetensors
  python -m policy.export checkpoints/default.safetensors checkpoints/default-int8 --precision int8
  python -m robot_bridge.serve --checkpoint checkpoints/default.onnx

The folder is a policy wherever a bundle is. Its results are compared with torch's before it is kept; what differs too
much is not written. int8 adds a rounded copy of forward dynamics, which drafts codes that the exact one looks over: the
same codes and actions in less time.
"""

import time
from pathlib import Path

from common import cli
from policy import DEFAULT_BUNDLE


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("policy.export", __doc__)
    parser.add_argument("bundle", type=Path, nargs="?", default=DEFAULT_BUNDLE, help="a bundle (.safetensors)")
    parser.add_argument("out", type=Path, nargs="?", metavar="FOLDER", help="to write; default: BUNDLE.onnx beside it")
    parser.add_argument("--runtime", choices=("onnx",), default="onnx", help="what it is written for")
    parser.add_argument(
        "--precision",
        choices=("fp32", "int8"),
        default="fp32",
        help="of what drafts codes (default fp32: nothing does)",
    )
    args = parser.parse_args(argv)
    from policy.load import build
    from policy.runtimes.export import export
    from training import checkpoint

    out = args.out or args.bundle.with_suffix(".onnx")
    began = time.perf_counter()
    found = export(build(checkpoint.read(args.bundle, "bundle")), out, args.precision)
    size = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    print(f"wrote {out}: {size:.1f} MB in {time.perf_counter() - began:.0f} s; beside torch, on random observations:")
    print(f"  {found.measured['codes']:.1%} of the codes differ; where none do, actions differ by")
    print(f"  {found.measured['actions']:.1e} at most, points by {found.measured['points']:.1e} half images")


if __name__ == "__main__":
    cli.run(main)
