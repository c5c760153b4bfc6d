"""Our demonstrations as videos: the agent's view, the arm's points in it, and the instruction as caption."""

from functools import partial
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import OpenFiles
from demos.cameras import ArmView
from demos.hdf5 import DemoReader
from demos.panda import ARM_LINES
from demos.spec import chosen_episodes, parse_specs
from tokenizer.multimodal.motion_codes import CODES, MotionCodes
from tokenizer.multimodal.video import Video, fingerprint_of

VIEW = "agentview"


class Demonstrations:
    """The episodes that a dataset spec chooses by its ``traj``; a video is named ``suite/task/demo_0``."""

    kind = "demonstrations"
    lines: tuple[tuple[int, ...], ...] = ARM_LINES

    def __init__(self, spec: str, root: Path, codes: MotionCodes | None = None):
        self.modalities: tuple[str, ...] = ("coords", "captions", *([CODES] if codes else []))
        self._codes = codes
        self._readers = OpenFiles(DemoReader, limit=16)
        self._episodes: dict[str, tuple[Path, int]] = {}
        for dataset in parse_specs(spec):
            files = sorted((root / dataset.name).glob("*_demo.hdf5"))
            if not files:
                raise UserError(f"no demonstrations (*_demo.hdf5) in {root / dataset.name}; see --demos-root")
            for path in files:
                reader, task = self._readers.open(path), path.stem.removesuffix("_demo")
                for index in chosen_episodes(dataset.traj or 0.0, len(reader)):
                    self._episodes[f"{dataset.name}/{task}/{reader.names[index]}"] = path, index
        if not self._episodes:
            raise UserError(f"{spec} chooses no demonstration; write for example libero_10:traj0.9")

    def names(self) -> list[str]:
        return list(self._episodes)

    def fingerprint(self, name: str) -> str:
        path, index = self._episodes[name]
        return f"{self._readers.open(path).steps(index)} steps, {fingerprint_of(path)}"

    def read(self, name: str) -> Video:
        path, index = self._episodes[name]
        reader = self._readers.open(path)
        view = ArmView.read(reader.attributes_of(index), VIEW, name)
        height, width = reader.image_size(index, VIEW)
        joints, fingers = (reader.read(index, key) for key in ("joint_states", "gripper_states"))
        points, visible = view.arm(joints, fingers, width, height)

        def frames() -> np.ndarray:
            return self._readers.open(path).read(index, f"{VIEW}_rgb")

        codes = None if self._codes is None else partial(self._codes.of, path, index)
        return Video(name, frames, points, visible, reader.language, codes)
