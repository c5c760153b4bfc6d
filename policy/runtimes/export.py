"""A policy in torch -> a folder that ONNX Runtime computes, checked against torch number by number."""

import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from common.errors import UserError
from policy.amplify import Amplify
from policy.heads.base import SamplingHead
from policy.interface import Text
from policy.runtimes import graphs, manifest
from policy.runtimes.manifest import Manifest, TextInput, graph_path
from policy.runtimes.onnx_policy import OnnxPolicy
from policy.text import PreprocessedText, WordsEncoder

Precision = Literal["fp32", "int8"]
PRECISIONS = get_args(Precision)
LIMITS = {"codes": 0.01, "actions": 1e-4, "points": 1e-4}
"""By how much an export may differ from torch: part of the codes; the largest difference of an action, and of a point
(in half images), from the same codes."""
OPSET = 23
"""The first in which attention is one operation: taken apart it copies the cache at every step."""
LARGE = 32
"""Matrices with fewer rows or columns stay float32 in a draft: few numbers of much weight."""
SAMPLES = 8
"""Random observations that an export is checked with."""


def export(policy: Amplify, folder: Path, precision: Precision = "fp32") -> Manifest:
    """Writes ``policy`` into ``folder``, which is made, and replaced where it was an exported policy.

    Raises:
        UserError: a part of it cannot be exported, or what was exported computes something else.
    """
    if folder.exists() and any(folder.iterdir()):
        manifest.read(folder)  # nothing else is overwritten
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        made = Path(temporary) / folder.name
        made.mkdir()
        _write_graphs(policy, made)
        if precision == "int8":
            _write_draft(made)
        described = _manifest(policy, precision, {})
        embeddings = policy.known_instructions.embeddings
        manifest.write(made, described, embeddings)
        differences = compare(policy, OnnxPolicy(made))
        if beyond := [name for name, value in differences.items() if not value <= LIMITS[name]]:
            name = beyond[0]
            raise UserError(
                f"the exported {name} differ from torch's by {differences[name]:.2g}, more than {LIMITS[name]:g}; "
                f"nothing was written"
            )
        described = _manifest(policy, precision, differences)
        manifest.write(made, described, embeddings)
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)
    return described


def compare(policy: Amplify, exported: OnnxPolicy) -> dict[str, float]:
    """How far ``exported`` is from ``policy`` on random observations; see ``LIMITS``."""
    rng = np.random.default_rng(0)
    views, (height, width) = len(policy.views), policy.image_size
    coarse = rng.integers(0, 256, (SAMPLES, views, height // 8, width // 8, 3), dtype=np.uint8)
    images = coarse.repeat(8, 2).repeat(8, 3)
    c = policy.inverse_dynamics.config
    proprio = rng.normal(size=(SAMPLES, c.proprio_dim)).astype(np.float32)
    text = _instructions(policy, rng)
    ours, theirs = policy.predict_codes(images, text), exported.predict_codes(images, text)
    start = rng.uniform(-1, 1, (SAMPLES, views, 1, policy.motion_tokenizer.config.num_tracks, 2)).astype(np.float32)
    same = (ours[0] == theirs[0]).all(1)  # of other codes other actions are made
    actions, points = (
        np.abs(one - other)[same]
        for one, other in (
            (policy.act(images, proprio, text), exported.act(images, proprio, text)),
            (policy.predict_traj(images, start, text), exported.predict_traj(images, start, text)),
        )
    )
    return {
        "codes": float((ours[0] != theirs[0]).mean()),
        "actions": float(actions.max(initial=0)),
        "points": float(points.max(initial=0)),
    }


def _instructions(policy: Amplify, rng: np.random.Generator) -> Text:
    """Some that the policy takes."""
    encoder = policy.forward_dynamics.text_encoder
    known = list(policy.known_instructions.embeddings or policy.origin.instructions or ("pick up the can",))
    if isinstance(encoder, PreprocessedText) and not policy.known_instructions.embeddings:
        return rng.normal(size=(SAMPLES, 512)).astype(np.float32)
    return [known[i % len(known)] for i in range(SAMPLES)]


def _soft(policy: Amplify) -> bool:
    return policy.forward_dynamics.config.codes == "soft"


def _text_input(encoder: nn.Module | None) -> TextInput | None:
    if encoder is None:
        return None
    if isinstance(encoder, WordsEncoder):
        return TextInput(encoder.config.buckets, encoder.config.max_words)
    if isinstance(encoder, PreprocessedText):
        return TextInput()
    raise UserError(f"the text encoder {type(encoder).__name__} is not exported; use words or stored embeddings")


def _manifest(policy: Amplify, precision: Precision, measured: dict[str, float]) -> Manifest:
    tokenizer, inverse = policy.motion_tokenizer.config, policy.inverse_dynamics
    forward_text = _text_input(policy.forward_dynamics.text_encoder)
    assert forward_text is not None
    return Manifest(
        views=policy.views,
        image_size=policy.image_size,
        action_horizon=policy.action_horizon,
        action_dim=inverse.config.action_dim,
        proprio_dim=inverse.config.proprio_dim,
        num_tracks=tokenizer.num_tracks,
        num_codes=policy.forward_dynamics.num_codes,
        forward_text=forward_text,
        inverse_text=_text_input(inverse.text_encoder),
        share_vision_encoder=policy.share_vision_encoder,
        soft_codes=_soft(policy),
        inverse_sees=inverse.vision_encoder is not None,
        head_steps=inverse.head.num_steps if isinstance(inverse.head, SamplingHead) else 0,
        head_draws=inverse.head.num_draws,
        precision=precision,
        description=policy.describe(),
        instructions=tuple(policy.known_instructions.embeddings),
        measured=measured,
    )


def _write_graphs(policy: Amplify, folder: Path) -> None:
    """The graphs in float32, traced with two observations whose images are of another size than the policy's."""
    forward, inverse, tokenizer = policy.forward_dynamics, policy.inverse_dynamics, policy.motion_tokenizer.config
    batch, beyond = 2, 32
    pixels = torch.rand(batch, len(policy.views), *(side + beyond for side in policy.image_size), 3)
    text = [_example_text(model.text_encoder, batch) for model in (forward, inverse)]
    each, size = {0: torch.export.Dim("batch")}, {2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    see = graphs.See(policy)
    with torch.no_grad():
        stretch, tokens, *_ = see(pixels, text[0])
    seen = None if inverse.vision_encoder is None else tokens if policy.share_vision_encoder else pixels
    proprio = torch.zeros(batch, inverse.config.proprio_dim)
    codes = torch.rand(batch, forward.num_codes, tokenizer.hidden_dim)
    head_width = tokenizer.hidden_dim // forward.config.num_heads
    cache = [torch.rand(batch, forward.config.num_heads, 5, head_width) for _ in range(2 * forward.config.num_layers)]
    cache_names = [f"{part}_{i}" for i in range(forward.config.num_layers) for part in ("keys", "values")]
    longest = forward.trunk.length - 2  # the exporter takes for granted that neither is less than 2
    start = torch.rand(batch, len(policy.views), 1, tokenizer.num_tracks, 2)
    write = _Writer(folder)
    seen_by_see = {"pixels": (pixels, each | size), "text": (text[0], each)}
    write("see", see, seen_by_see, ["stretch", "tokens", *(["codes"] if _soft(policy) else [])])
    write(
        "think",
        graphs.Think(policy),
        {
            "stretch": (stretch, each | {1: torch.export.Dim("places", max=longest)}),
            "condition": (torch.tensor(3), {}),
            "asked": (torch.arange(3), {0: torch.export.Dim("asked", max=longest)}),
            "cache": (cache, [each | {2: torch.export.Dim("past", max=longest)}] * len(cache)),
        },
        ["code_index", "code_vector", *(f"next_{name}" for name in cache_names)],
        ["stretch", "condition", "asked", *cache_names],
    )
    looks = each if seen is None or policy.share_vision_encoder else each | size
    observed: dict[str, tuple[Any, Any]] = {
        "seen": (seen, looks),
        "text": (text[1], each),
        "proprio": (proprio, each),
        "codes": (codes, each),
    }
    act = graphs.Act(policy)
    if isinstance(inverse.head, SamplingHead):
        with torch.no_grad():
            memory = act(*(example for example, _ in observed.values()))
        names = [f"memory_{i}" for i in range(len(memory))]
        write("act", act, observed, names)
        x, fresh = torch.rand(2, batch, policy.action_horizon, inverse.config.action_dim)  # one tensor is one input
        refined: dict[str, tuple[Any, Any]] = {
            "x": (x, each),
            "step": (torch.tensor(0), {}),
            "fresh": (fresh, each),
            "memory": (memory, [each] * len(memory)),
        }
        write("refine", graphs.Refine(policy), refined, ["next_x", "actions"], ["x", "step", "fresh", *names])
    else:
        write("act", act, observed, ["actions"])
    write("follow", graphs.Follow(policy), {"codes": (codes, each), "start": (start, each)}, ["points"])


class _Writer:
    """Writes a module as the graph of a name; inputs are examples with the sizes in them that may vary."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(
        self,
        name: str,
        module: nn.Module,
        inputs: dict[str, tuple[Any, Any]],
        outputs: list[str],
        input_names: list[str] | None = None,
    ) -> None:
        examples = tuple(example for example, _ in inputs.values())
        sizes = tuple(None if example is None else varying for example, varying in inputs.values())
        given = [name for name, (example, _) in inputs.items() if example is not None]
        with _quiet():
            # by itself the exporter would fix sizes that it cannot keep variable, and not say so
            program = torch.export.export(module.eval(), examples, dynamic_shapes=sizes)
            torch.onnx.export(
                program,
                f=str(graph_path(self.folder, name)),
                dynamo=True,
                opset_version=OPSET,
                input_names=input_names or given,
                output_names=outputs,
                external_data=False,
                verbose=False,
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporter and quantiser tell of their own affairs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(before)


def _example_text(encoder: nn.Module | None, batch: int) -> Tensor | None:
    found = _text_input(encoder)
    if found is None:
        return None
    return torch.ones(batch, found.max_words, dtype=torch.int64) if found.buckets else torch.rand(batch, 512)


def _write_draft(folder: Path) -> None:
    """Forward dynamics with its large matrices in int8, a scale for each column; what they are multiplied with is
    quantised as it comes.

    It only drafts codes, since one rounded decision changes all that follow: it stands beside the exact one, which
    looks over a whole draft in the time of one code. Nothing else is rounded: see docs/runtimes.md.
    """
    think, draft = graph_path(folder, "think"), graph_path(folder, "draft")
    graph = onnx.load(think).graph
    large = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 2 and min(tensor.dims) >= LARGE}
    chosen = [node.name for node in graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in large]
    if not chosen:  # all would be meant
        shutil.copy(think, draft)
        return
    with _quiet():
        quantize_dynamic(think, draft, nodes_to_quantize=chosen, per_channel=True, weight_type=QuantType.QInt8)
