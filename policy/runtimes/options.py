"""The options with which commands choose what computes a policy."""

import argparse
from typing import Any

from policy.runtimes.opening import RUNTIMES


def add_runtime_options(group: Any) -> None:
    """Adds --runtime, --precision and --compile to a parser or a group of one."""
    group.add_argument(
        "--runtime",
        choices=RUNTIMES,
        help="what computes the policy; onnx: the export beside the bundle, or named as checkpoint, without torch "
        "(python -m policy.export; default: as the checkpoint is)",
    )
    group.add_argument(
        "--precision", choices=("fp32", "bf16"), help="of torch; bf16: quicker, codes may differ now and then"
    )
    group.add_argument("--compile", action="store_true", help="with torch: compile the policy first, takes a minute")


def runtime_options(options: argparse.Namespace) -> dict[str, Any]:
    """What was chosen, as ``load_runtime`` takes it."""
    return {"runtime": options.runtime, "precision": options.precision, "compiled": options.compile}
