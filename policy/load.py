"""Opening bundles: one file -> a policy that is ready to act."""

import os
from pathlib import Path
from typing import Any

import torch

from common.errors import UserError
from demos.origin import Origin
from policy.amplify import Amplify
from policy.forward_dynamics import ForwardConfig
from policy.inverse_dynamics import InverseConfig
from policy.torch_options import optimize
from tokenizer.tracks.model import TokenizerConfig
from training import checkpoint
from training.checkpoint import Checkpoint
from training.typed_config import from_mapping


def bundle_config(policy: Amplify) -> dict[str, Any]:
    """What ``build`` needs to make this policy again, without its weights."""
    return {
        "name": policy.name,
        "motion_tokenizer": policy.motion_tokenizer.config.to_dict(),
        "forward_dynamics": policy.forward_dynamics.config.to_dict(),
        "inverse_dynamics": policy.inverse_dynamics.config.to_dict(),
        "share_vision_encoder": policy.share_vision_encoder,
    }


def build(bundle: Checkpoint) -> Amplify:
    """The policy a bundle describes, with its weights."""
    where, config = str(bundle.path), bundle.config
    policy = Amplify(
        from_mapping(TokenizerConfig, config["motion_tokenizer"], where),
        from_mapping(ForwardConfig, config["forward_dynamics"], where),
        from_mapping(InverseConfig, config["inverse_dynamics"], where),
        config["share_vision_encoder"],
        config["name"],
        bundle.digest,
        Origin.from_info(bundle.info),
        bundle.text_embeddings,
    )
    checkpoint.load_weights(policy, bundle)
    return policy


def usable_device(name: str | None = None) -> str:
    """``name``, of a torch device that can be computed on here; without it a GPU if there is one, else the CPU.

    Raises:
        UserError: there is no such device, or this torch cannot use it.
    """
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).cpu()
    except (AssertionError, RuntimeError) as error:  # torch says it with either
        reason = str(error).splitlines()[0]
        there = ", ".join(["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))])
        raise UserError(
            f"cannot compute on the device {name!r} with torch {torch.__version__} ({reason}); use {there} (--device)"
        ) from error
    return name


def load_policy(
    path: str | Path,
    device: str | None = "cpu",
    threads: int | None = None,
    precision: str = "fp32",
    compiled: bool = False,
) -> Amplify:
    """Opens a bundle (.safetensors) on ``device``; for None on a GPU if there is one, else on the CPU. To act only:
    who wants its weights takes ``build``.

    ``threads`` sets how many threads torch computes with, in this whole process. By default that is all cores but one:
    what feeds a policy (simulator, network, cameras) needs the other, and while it runs there, a torch thread that
    shares the core makes all of them wait (measured: docs/robot.md). ``precision``: fp32, or bf16, in which a code may
    come out differently now and then; ``compiled``: by torch.compile, which takes a minute and a C++ compiler.

    Raises:
        UserError: there is no such file, it is not one of our bundles, or ``device`` cannot be used.
    """
    device = usable_device(device)
    if threads is None:
        threads = min(torch.get_num_threads(), max(1, (os.cpu_count() or 1) - 1))
    torch.set_num_threads(threads)
    policy = build(checkpoint.read(path, "bundle")).to(device)
    optimize(policy, precision, compiled)
    return policy
