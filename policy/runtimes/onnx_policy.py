"""An exported policy, computed by ONNX Runtime: numpy in, numpy out, no torch anywhere."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import InferenceSession, OrtValue

from common.errors import UserError
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
    instead of codes.

    Raises:
        UserError: there is no exported policy, or it is damaged.
    """

    def __init__(self, folder: str | Path, threads: int | None = None):
        self.folder = Path(folder)
        self.manifest, embeddings = read(self.folder)
        self.blank_codes = False
        self._known = KnownInstructions(embeddings)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or max(1, (os.cpu_count() or 1) - 1)
        options.log_severity_level = 3
        # a graph's threads that spin for its next call would take the cores from the other graphs, and from everybody
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._see, self._think, self._act, self._follow = (
            self._open(name, options) for name in ("see", "think", "act", "follow")
        )
        self._draft = self._open("draft", options) if self.manifest.precision == "int8" else None
        _, _, *self._cache = self._think.get_inputs()

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
            _, _, tokens, codes = self._look(pixels, text)
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
        # which of its inputs a graph has no use for is known to itself
        used = {item.name for item in self._act.get_inputs()}
        return self._act.run(None, {name: value for name, value in inputs.items() if name in used})[0]

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
        condition, start, tokens = self._look(pixels, text)[:3]
        cache = self.empty_cache(len(pixels))
        _, _, cache = _next(self._think, OrtValue.ortvalue_from_numpy(condition), cache, causal=False)
        return tokens, *self._decode(OrtValue.ortvalue_from_numpy(start), cache)

    def _look(self, pixels: NDArray[np.float32], text: Text) -> list[NDArray[np.float32]]:
        """Pixels (b, v, h, w, 3) -> condition (b, c, dim), start token (b, 1, dim), image tokens (b, v, t, e); and the
        mean of all codes (b, codes, dim) where that is acted on."""
        prepared = self._prepared(self.manifest.forward_text, text, len(pixels))
        return self._see.run(None, {"pixels": pixels, "text": prepared})

    def empty_cache(self, batch: int) -> _Cache:
        """That of a sequence that has not begun."""
        heads, width = self._cache[0].shape[1::2]
        empty = np.empty((batch, heads, 0, width), np.float32)
        return [OrtValue.ortvalue_from_numpy(empty) for _ in self._cache]

    def _decode(self, new: OrtValue, cache: _Cache) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The start token (b, 1, dim) and the cache of the condition -> indices (b, codes), code vectors.

        A draft makes guesses of all codes to come, one after the other. The exact model then tells for all of them at
        once what it would have said: right are its answers up to the first that differs from the guess, and that one
        too (speculative decoding, Leviathan et al., 2023, here without chance). So the codes are the exact model's.
        """
        indices: list[NDArray[np.int64]] = []
        codes: list[NDArray[np.float32]] = []
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


def _next(
    session: InferenceSession, stretch: OrtValue, cache: _Cache, causal: bool = True
) -> tuple[OrtValue, OrtValue, _Cache]:
    """One call of think, or its draft: see ``policy.runtimes.graphs.Think``."""
    names = (item.name for item in session.get_inputs())
    flag = OrtValue.ortvalue_from_numpy(np.array(causal))
    index, code, *longer = session.run_with_ort_values(None, dict(zip(names, (stretch, flag, *cache), strict=True)))
    return index, code, longer


def _shortened(cache: _Cache, by: int) -> _Cache:
    """``cache`` without its last places."""
    return [OrtValue.ortvalue_from_numpy(np.ascontiguousarray(part.numpy()[:, :, :-by])) for part in cache]
