"""Opening bundles: one file -> a policy that is ready to act."""

import os
from pathlib import Path

import torch

from demos.origin import Origin
from policy.amplify import Amplify
from policy.forward_dynamics import ForwardConfig
from policy.inverse_dynamics import InverseConfig
from tokenizer.tracks.model import TokenizerConfig
from training import checkpoint
from training.checkpoint import Checkpoint
from training.typed_config import from_mapping


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


def load_policy(path: str | Path, device: str = "cpu", threads: int | None = None) -> Amplify:
    """Opens a bundle (.safetensors). ``threads`` sets how many threads torch computes with, in this whole process.

    By default that is all cores but one: what feeds a policy (simulator, network, cameras) needs the other, and while
    it runs there, a torch thread that shares the core makes all of them wait (measured: docs/robot.md).
    """
    if threads is None:
        threads = min(torch.get_num_threads(), max(1, (os.cpu_count() or 1) - 1))
    torch.set_num_threads(threads)
    policy = build(checkpoint.read(path, "bundle"))
    return policy.to(device)
