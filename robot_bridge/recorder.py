"""Records a robot session to HDF5 in the demonstration layout, so that it can be replayed, visualised, trained on.

The file opens like any demonstration (``demos.hdf5``). What a demonstration has no place for is in
``data/demo_i/robot``: times, measured and commanded joints, modes, the requests with their chunks, all
interventions.
"""

import shutil
from pathlib import Path

import h5py
import numpy as np

from common.files import replacing
from demos.hdf5 import DemoHeader, DemoWriter, Episode
from robot_bridge.asker import Answer
from robot_bridge.config import RobotConfig
from robot_bridge.loop import Arm, Tick
from robot_bridge.rotations import rotation_quaternion, rotation_vector


class SessionRecorder:
    """Collects in memory while the loop runs; ``save`` writes. At 128 x 128 a minute of 20 Hz takes 120 MB."""

    def __init__(self, folder: str | Path, config: RobotConfig, task: str, views: tuple[str, ...], arm: Arm):
        self._folder, self._config, self._task, self._views, self._arm = Path(folder), config, task, views, arm
        self._ticks: list[Tick] = []
        self._answers: list[Answer] = []
        self._events: list[tuple[float, str, str]] = []

    def tick(self, tick: Tick) -> None:
        """One control period."""
        self._ticks.append(tick)

    def answer(self, answer: Answer) -> None:
        """A request's end, good or bad."""
        self._answers.append(answer)

    def event(self, at: float, kind: str, text: str) -> None:
        """A change of mode or an intervention."""
        self._events.append((at, kind, text))

    def save(self) -> Path | None:
        """Adds the session to ``<folder>/<task>_demo.hdf5``; None when there was not one tick."""
        if not self._ticks:
            return None
        slug = "".join(letter if letter.isalnum() else "_" for letter in self._task.lower()).strip("_") or "session"
        header = DemoHeader(
            language=self._task,
            problem_name="robot_session",
            bddl_file_name="",
            env_kwargs={"robot": self._config.name, "mode": self._config.mode},
        )
        writer = DemoWriter(self._folder / f"{slug}_demo.hdf5", header)
        index = writer.append(self._episode())
        path = writer.finish()
        with replacing(path) as temporary:
            shutil.copyfile(path, temporary)
            with h5py.File(temporary, "r+") as file:
                self._write_log(file.create_group(f"data/demo_{index}/robot"))
        return path

    def _episode(self) -> Episode:
        ticks = self._ticks
        q = np.stack([tick.measured for tick in ticks])
        fingers = np.stack([tick.observation.fingers for tick in ticks])
        poses = [self._arm.pose(row) for row in q]
        position = np.stack([pose[0] for pose in poses])
        quaternion = np.stack([rotation_quaternion(pose[1]) for pose in poses])
        images = np.stack([tick.observation.images for tick in ticks])
        count = len(ticks)
        blank = np.zeros((count, *images.shape[2:]), np.uint8)
        by_view = {view: images[:, number] for number, view in enumerate(self._views)}
        dones = np.zeros(count)
        dones[-1] = 1
        # An action that was held back is a still one; only osc_delta actions are what `actions` means elsewhere.
        still = np.array([0, 0, 0, 0, 0, 0, -1.0])
        plain = [still if t.action is None or len(t.action) != 7 else t.action for t in ticks]
        return Episode(
            actions=np.stack(plain),
            states=np.concatenate([q, fingers], axis=1),
            robot_states=np.concatenate([fingers, position, quaternion], axis=1),
            rewards=np.zeros(count),
            dones=dones,
            agentview_rgb=by_view.get("agentview", blank),
            eye_in_hand_rgb=by_view.get("eye_in_hand", blank),
            joint_states=q,
            gripper_states=fingers,
            ee_pos=position,
            ee_ori=np.stack([rotation_vector(pose[1]) for pose in poses]),
            attributes={"robot": self._config.name},
        )

    def _write_log(self, group: h5py.Group) -> None:
        ticks = self._ticks
        group.attrs["clock"] = "seconds on the control loop's monotonic clock"
        group["time"] = [tick.at for tick in ticks]
        group["late"] = [tick.late for tick in ticks]
        group["commanded_sim"] = np.stack([tick.command.q_sim for tick in ticks])
        group["commanded_real"] = np.stack([tick.command.q_real for tick in ticks])
        group["opening"] = [tick.opening for tick in ticks]
        group["mode"] = [tick.command.mode.value for tick in ticks]
        width = max((len(tick.action) for tick in ticks if tick.action is not None), default=1)
        none = np.full(width, np.nan)
        group["action"] = np.stack([none if tick.action is None else tick.action for tick in ticks])
        requests = group.create_group("requests")
        requests["observed"] = np.array([answer.observation.at for answer in self._answers], np.float64)
        requests["seconds"] = np.array([answer.seconds for answer in self._answers], np.float64)
        text = h5py.string_dtype()
        requests.create_dataset("error", data=[answer.error for answer in self._answers], dtype=text)
        chunks = requests.create_group("chunks")
        for number, answer in enumerate(self._answers):
            if answer.chunk is not None:
                chunks[str(number)] = answer.chunk
        events = group.create_group("events")
        events["time"] = np.array([event[0] for event in self._events], np.float64)
        events.create_dataset("kind", data=[event[1] for event in self._events], dtype=text)
        events.create_dataset("text", data=[event[2] for event in self._events], dtype=text)
