"""An exported policy, computed by ONNX Runtime: numpy in, numpy out, no torch anywhere."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import InferenceSession, OrtValue

from common.errors import UserError
from policy.heads.noise import seeded_noise
from policy.interface import Array, Text
from policy.known_instructions import KnownInstructions
from policy.observation import checked_images, checked_instructions, checked_proprio, checked_queries
from policy.runtimes.manifest import TextInput, graph_path, read
from policy.words import WordHashes

_Cache = list[OrtValue]
"""Keys and values of every layer in turn, (b, heads, t, d)"""


class OnnxPolicy:
    """The policy in ``folder``. Implements ``policy.interface``; may be called from many threads.

    ``threads`` are those of one call; by default all cores but one. ``blank_codes``: inverse dynamics gets zeros
    instead of codes. ``sampling_seed``: of the noise that diffusion and flow heads start from, the same for every
    observation; with None it is drawn anew each time.

    Raises:
        UserError: there is no exported policy, or it is damaged.
    """

    def __init__(self, folder: str | Path, threads: int | None = None):
        self.folder = Path(folder)
        self.manifest, embeddings = read(self.folder)
        self.blank_codes = False
        self.sampling_seed: int | None = 0
        self._known = KnownInstructions(embeddings)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or max(1, (os.cpu_count() or 1) - 1)
        options.log_severity_level = 3
        # a graph's threads that spin for its next call would take the cores from the other graphs, and from everybody
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._see, self._think, self._act, self._follow = (
            self._open(name, options) for name in ("see", "think", "act", "follow")
        )
        self._draft = self._open("draft", options) if "draft" in self.manifest.graphs else None
        self._refine = self._open("refine", options) if "refine" in self.manifest.graphs else None
        _, _, _, *self._cache = self._think.get_inputs()

    def _open(self, name: str, options: onnxruntime.SessionOptions) -> InferenceSession:
        path = graph_path(self.folder, name)
        try:
            return InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the classes of its errors have no common base of their own
            reason = str(error).splitlines()[0]
            raise UserError(f"{path} is damaged, or of a newer ONNX Runtime ({reason}); export it again") from None

    @property
    def views(self) -> tuple[str, ...]:
        return self.manifest.views

    @property
    def image_size(self) -> tuple[int, int]:
        return self.manifest.image_size

    @property
    def action_horizon(self) -> int:
        return self.manifest.action_horizon

    def act(self, images: Array, proprio: Array | None, text: Text) -> NDArray[np.float32]:
        """Images (b, v, h, w, 3), proprioception (b, 9), b instructions -> actions (b, horizon, 7) in [-1, 1]."""
        pixels = self._pixels(images)
        if self.manifest.soft_codes:
            _, tokens, codes = self._look(pixels, text)
        else:
            tokens, _, codes = self._predict(pixels, text)
        inputs = {
            "proprio": checked_proprio(proprio, len(pixels), self.manifest.proprio_dim),
            "codes": np.zeros_like(codes) if self.blank_codes else codes,
        }
        if self.manifest.inverse_sees:
            inputs["seen"] = tokens if self.manifest.share_vision_encoder else pixels
        if self.manifest.inverse_text is not None:
            inputs["text"] = self._prepared(self.manifest.inverse_text, text, len(pixels))
        made = _run(self._act, inputs)
        return made[0] if self._refine is None else self._refined(self._refine, made, len(pixels))

    def _refined(self, refine: InferenceSession, memory: list[NDArray[np.float32]], batch: int) -> NDArray[np.float32]:
        """What a head that samples attends to -> actions (b, t, 7); the loop is that of ``SamplingHead.act``."""
        described = self.manifest
        shape = (described.action_horizon, described.action_dim)
        noise = seeded_noise(described.head_draws, batch, shape, self.sampling_seed)
        actions = x = noise[0]
        for step in range(described.head_steps):
            given = {"x": x, "step": np.array(step), "fresh": noise[(step + 1) % len(noise)]}
            x, actions = _run(refine, given | {f"memory_{i}": part for i, part in enumerate(memory)})
        return actions

    def predict_codes(self, images: Array, text: Text) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Images (b, v, h, w, 3), b instructions -> indices (b, codes), code vectors (b, codes, hidden)."""
        _, indices, codes = self._predict(self._pixels(images), text)
        return indices, codes

    def predict_traj(self, images: Array, init_queries: Array, text: Text) -> NDArray[np.float32]:
        """First points (b, v, >=1, n, 2) in [-1, 1] -> where they go, (b, v, 16, n, 2), (row, col)."""
        pixels = self._pixels(images)
        start = checked_queries(init_queries, len(pixels), len(self.views), self.manifest.num_tracks)
        _, _, codes = self._predict(pixels, text)
        return self._follow.run(None, {"codes": codes, "start": start})[0]

    def describe(self) -> dict[str, Any]:
        """What the policy says of itself in torch, and what computes it here."""
        return {
            **self.manifest.description,
            "runtime": f"onnxruntime {onnxruntime.__version__}",
            "precision": self.manifest.precision,
            "blank_codes": self.blank_codes,
            "inpaints": False,  # which takes gradients
        }

    def _pixels(self, images: Array) -> NDArray[np.float32]:
        pixels = checked_images(images, len(self.views))
        values = pixels.astype(np.float32)
        return values / np.float32(255) if pixels.dtype == np.uint8 else values

    def _prepared(self, config: TextInput, text: Text, batch: int) -> Array:
        """The instructions as a model takes them."""
        source = WordHashes(config.buckets, config.max_words) if config.buckets else self._known
        prepared = source.prepare(text)
        checked_instructions(prepared, batch)
        return prepared

    def _predict(
        self, pixels: NDArray[np.float32], text: Text
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        """Pixels (b, v, h, w, 3) -> image tokens (b, v, t, e), indices (b, codes), code vectors (b, codes, dim)."""
        stretch, tokens = self._look(pixels, text)[:2]
        return tokens, *self._decode(*self.begin(stretch))

    def begin(self, stretch: NDArray[np.float32]) -> tuple[OrtValue, OrtValue, _Cache]:
        """Condition and start token (b, c + 1, dim) -> the first code (b, 1), its vector (b, 1, dim), the cache."""
        heads, width = self._cache[0].shape[1::2]
        empty = OrtValue.ortvalue_from_numpy(np.empty((len(stretch), heads, 0, width), np.float32))
        condition = stretch.shape[1] - 1
        places = OrtValue.ortvalue_from_numpy(stretch)
        return _next(self._think, places, [empty] * len(self._cache), condition, asked=range(condition, condition + 1))

    def _look(self, pixels: NDArray[np.float32], text: Text) -> list[NDArray[np.float32]]:
        """Pixels (b, v, h, w, 3) -> condition and start token (b, c + 1, dim), image tokens (b, v, t, e); and the mean
        of all codes (b, codes, dim) where that is acted on."""
        prepared = self._prepared(self.manifest.forward_text, text, len(pixels))
        return self._see.run(None, {"pixels": pixels, "text": prepared})

    def _decode(self, first: OrtValue, new: OrtValue, cache: _Cache) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The first code (b, 1), its vector (b, 1, dim) and the cache of what is before it -> indices (b, codes), code
        vectors (b, codes, dim).

        A draft makes guesses of all codes to come, one after the other. The exact model then tells for all of them at
        once what it would have said: right are its answers up to the first that differs from the guess, and that one
        too (speculative decoding, Leviathan et al., 2023, here without chance). So the codes are the exact model's.
        """
        indices: list[NDArray[np.int64]] = [first.numpy()]
        codes: list[NDArray[np.float32]] = [new.numpy()]
        while (left := self.manifest.num_codes - sum(part.shape[1] for part in indices)) > 0:
            stretch, guesses = self._guess(new, cache, left - 1)
            index, code, longer = _next(self._think, stretch, cache)
            index, code = index.numpy(), code.numpy()
            agreeing = (guesses == index[:, : guesses.shape[1]]).all(0)  # in the whole batch
            right = 1 + int(np.logical_and.accumulate(agreeing).sum())
            indices.append(index[:, :right])
            codes.append(code[:, :right])
            new = OrtValue.ortvalue_from_numpy(np.ascontiguousarray(code[:, right - 1 : right]))
            cache = longer if right == index.shape[1] else _shortened(longer, index.shape[1] - right)
        return np.concatenate(indices, 1), np.concatenate(codes, 1)

    def _guess(self, new: OrtValue, cache: _Cache, count: int) -> tuple[OrtValue, NDArray[np.int64]]:
        """``new`` (b, 1, dim) and the vectors of codes that are guessed to follow, (b, 1 + guesses, dim); the guesses
        (b, guesses): ``count`` of a draft, none without one."""
        vectors = [new]
        indices = [np.empty((new.shape()[0], 0), np.int64)]
        for _ in range(count if self._draft is not None else 0):
            index, new, cache = _next(self._draft, new, cache)
            indices.append(index.numpy())
            vectors.append(new)
        stretch = np.concatenate([vector.numpy() for vector in vectors], 1)
        return OrtValue.ortvalue_from_numpy(stretch), np.concatenate(indices, 1)


def _run(session: InferenceSession, inputs: Mapping[str, Array]) -> list[NDArray[np.float32]]:
    """What ``session`` makes of those of the ``inputs`` that it has a use for, which it knows itself."""
    used = {item.name for item in session.get_inputs()}
    return session.run(None, {name: value for name, value in inputs.items() if name in used})


def _next(
    session: InferenceSession, stretch: OrtValue, cache: _Cache, condition: int = 0, asked: range | None = None
) -> tuple[OrtValue, OrtValue, _Cache]:
    """One call of think, or its draft: see ``policy.runtimes.graphs.Think``. All places are asked by default."""
    places = np.array(range(stretch.shape()[1]) if asked is None else asked, np.int64)
    numbers = (OrtValue.ortvalue_from_numpy(value) for value in (np.array(condition), places))
    names = (item.name for item in session.get_inputs())
    inputs = dict(zip(names, (stretch, *numbers, *cache), strict=True))
    index, code, *longer = session.run_with_ort_values(None, inputs)
    return index, code, longer


def _shortened(cache: _Cache, by: int) -> _Cache:
    """``cache`` without its last places."""
    return [OrtValue.ortvalue_from_numpy(np.ascontiguousarray(part.numpy()[:, :, :-by])) for part in cache]
