"""Opens a policy on disk with whatever computes it: a bundle with torch, an exported folder with ONNX Runtime."""

from pathlib import Path
from typing import Literal, Protocol

from common.errors import UserError, require
from common.files import digest_of
from policy.interface import Policy

Runtime = Literal["torch", "onnx"]
RUNTIMES = ("torch", "onnx")


class LocalPolicy(Policy, Protocol):
    """A policy that is computed in this process."""

    blank_codes: bool
    """whether inverse dynamics gets zeros instead of codes"""


def load_runtime(
    path: str | Path,
    runtime: str | None = None,
    *,
    device: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    compiled: bool = False,
) -> LocalPolicy:
    """The policy in the bundle (.safetensors) or exported folder at ``path``.

    ``runtime``: torch or onnx; by default what the path is of. For onnx with a bundle its export is taken, the folder
    ``NAME.onnx`` beside it. ``device``, ``precision`` (fp32, bf16) and ``compiled`` are of torch only; an export has
    its precision. ``threads``: all cores but one by default. Without torch installed, folders can be opened.

    Raises:
        UserError: there is no such policy, or nothing that computes it as asked for.
    """
    path = Path(path)
    runtime = runtime or ("onnx" if path.is_dir() else "torch")
    require(runtime in RUNTIMES, f"there is no runtime {runtime!r}; use torch or onnx")
    if runtime == "torch":
        require(not path.is_dir(), f"{path} is an exported policy; leave --runtime torch out, or name the bundle")
        from policy.load import load_policy

        return load_policy(path, device, threads, precision or "fp32", compiled)
    if device not in (None, "cpu") or precision is not None or compiled:
        raise UserError("--device, --precision and --compile are for --runtime torch; an export has its precision")
    folder = path if path.is_dir() else path.with_suffix(".onnx")
    require(folder.is_dir(), f"no export of {path} at {folder}; make one with 'python -m policy.export {path}'")
    from policy.runtimes.onnx_policy import OnnxPolicy

    policy = OnnxPolicy(folder, threads)
    if path.is_file() and policy.manifest.description["hash"] != digest_of(path):
        raise UserError(f"{folder} was exported from another bundle; 'python -m policy.export {path}' makes it anew")
    return policy
