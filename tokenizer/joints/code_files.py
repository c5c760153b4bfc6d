"""Codes on disk: one JSON file with the clips of a folder, the tokenizer that they are of, and how to begin.

``{"tokenizer": "joints-arm.safetensors", "digest": ..., "clips": [{"name", "frames", "codes", "start"}]}``. Without
``frames`` a clip is as long as its codes; ``start`` is the root's first position and quaternion (x y z w). A list of
codes made by a model needs no more than ``{"tokenizer": ..., "codes": [...]}``.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.errors import UserError
from common.files import replacing
from demos.motion import Motion, make_motion
from tokenizer.joints.clips import Clip
from tokenizer.joints.codes import decode_clip, encode_clip
from tokenizer.joints.features import motion_of
from tokenizer.joints.model import JointTokenizer
from training import checkpoint


def encoded(tokenizer: JointTokenizer, clip: Clip) -> dict[str, Any]:
    """One clip's entry in a file."""
    motion = clip.motion
    return {
        "name": motion.name,
        "seconds": round(motion.seconds, 4),
        "stable_seconds": round(motion.stable_seconds, 4),
        "transition_seconds": round(motion.transition_seconds, 4),
        "frames": len(motion),
        "start": [*motion.root_pos[0].tolist(), *motion.root_rot[0].tolist()],
        "codes": encode_clip(tokenizer, clip.features).tolist(),
    }


def write_codes(path: Path, tokenizer: JointTokenizer, checkpoint_path: Path, entries: list[dict[str, Any]]) -> None:
    """Writes the entries of clips that this tokenizer has encoded."""
    document = {
        "tokenizer": str(checkpoint_path.resolve()),
        "digest": checkpoint.read(checkpoint_path).digest,
        "frame_rate": tokenizer.frame_rate,
        "rate": tokenizer.rate,
        "clips": entries,
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(document) + "\n")


def decode_file(path: Path, checkpoint_path: Path | None = None) -> tuple[list[Motion], bool]:
    """The motions of a file of codes, and whether their joints are the robot's, mapped.

    Raises:
        UserError: it is no such file, its codes are of another tokenizer, or that is not to be found.
    """
    try:
        document = json.loads(path.read_text())
        clips = document["clips"] if "clips" in document else [{"name": path.stem, "codes": document["codes"]}]
        named = checkpoint_path or path.parent / document["tokenizer"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no file of codes ({type(error).__name__}: {error}); it has clips, or codes"
        ) from None
    tokenizer = JointTokenizer.load(named)
    found = document.get("digest")
    if found is not None and found != (digest := checkpoint.read(named).digest):
        raise UserError(f"{path} is of the tokenizer {found}, {named} is {digest}; name the right one with --tokenizer")
    motions = [_decoded(tokenizer, clip, f"{path}: clip {number}") for number, clip in enumerate(clips)]
    return motions, tokenizer.config.features.apply_sim_to_real_map


def _decoded(tokenizer: JointTokenizer, clip: Any, where: str) -> Motion:
    try:
        codes, frames, start = torch.tensor(clip["codes"]), clip.get("frames"), clip.get("start")
        name = str(clip.get("name", "decoded"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{where} has no list of codes ({error})") from None
    first = None
    if start is not None:
        pose = np.tile(np.asarray(start, np.float64), (2, 1))
        first = make_motion(name, tokenizer.frame_rate, np.zeros((2, 1)), pose[:, :3], pose[:, 3:], source=where)
    features = decode_clip(tokenizer, codes, frames)
    return motion_of(features, tokenizer.config.features, tokenizer.frame_rate, name, first)
