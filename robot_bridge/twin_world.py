"""The world of the digital twin: its robot in its scene, simulated; what its joints do and its cameras see.

``robot_bridge.twin`` is a robot in it, ``robot_bridge.shadow`` follows one.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mujoco
import numpy as np

from robot_bridge.camera import Exposure
from robot_bridge.config import GripperConfig
from robot_bridge.twin_robot import TwinRobot
from robot_bridge.twin_scene import PERIOD, load_scene

JOINT_MOTOR = int(mujoco.mjtTrn.mjTRN_JOINT)


class Fingers:
    """The joints of a gripper, which go together between closed and open."""

    def __init__(self, model: mujoco.MjModel, config: GripperConfig, motor: Callable[[int], int]):
        parts = [model.joint(name) for name in config.joints]
        self._places = np.array([int(part.qposadr[0]) for part in parts], int)
        self._motors = np.array([motor(part.id) for part in parts], int)
        self._closed, self._open = np.array(list(config.joints.values())).reshape(-1, 2).T
        self._config = config
        self._told = config.open

    def place(self, data: mujoco.MjData) -> None:
        """Where they are when open."""
        data.qpos[self._places] = self._open

    def drive(self, data: mujoco.MjData, opening: float) -> None:
        """Where they are to be; ``opening`` is in the driver's unit."""
        config, self._told = self._config, opening
        share = (opening - config.closed) / (config.open - config.closed)
        data.ctrl[self._motors] = self._closed + share * (self._open - self._closed)

    def measure(self, data: mujoco.MjData) -> np.ndarray:
        """Where they are (f,), in the driver's unit; where they were told to be, if the model has none."""
        config, count = self._config, self._config.fingers
        places = np.full(count, self._told)
        if len(self._places):
            share = (data.qpos[self._places] - self._closed) / (self._open - self._closed)
            places = np.resize(config.closed + share * (config.open - config.closed), count)
        return places * np.resize([1.0, -1.0], count)


class SceneCamera:
    """A camera of the scene, under the name its images are published by; ``size`` is their (height, width)."""

    def __init__(self, name: str, view: str, size: tuple[int, int]):
        self.name, self.view, self.size = name, view, size
        self._sequence = 0
        self._newest: Exposure | None = None

    def show(self, pixels: np.ndarray, at: float) -> None:
        """A new image (h, w, 3) uint8 of the moment ``at`` (monotonic s)."""
        self._sequence += 1
        self._newest = Exposure(pixels, at, self._sequence)

    def take(self) -> Exposure | None:
        """The newest image, once."""
        newest, self._newest = self._newest, None
        return newest


class World:
    """``robot`` in the scene of a file (``twin_scene``), with its arms at home and its grippers open.

    Joints are in the simulator's order. ``step``, ``film`` and ``q`` may run in three threads; all else belongs to the
    first. ``image_size`` is the side of images whose size ``robot`` does not say.
    """

    def __init__(self, robot: TwinRobot, scene: str | Path | None = None, image_size: int = 128):
        loaded = load_scene(robot, scene)
        self.model, self.notice = loaded.model, loaded.notice
        self.data = mujoco.MjData(self.model)
        for joint, positions in loaded.start.items():
            self.data.joint(joint).qpos[:] = positions
        parts = [self.model.joint(name) for name in robot.joints]
        self._joints = np.array([int(part.qposadr[0]) for part in parts])
        self._velocities = np.array([int(part.dofadr[0]) for part in parts])
        self._motors = np.array([self._motor(part.id) for part in parts])
        self._fingers = [Fingers(self.model, gripper, self._motor) for gripper in robot.grippers]
        for fingers in self._fingers:
            fingers.place(self.data)
        self._lock = threading.Lock()
        there = {self.model.camera(number).name for number in range(self.model.ncam)}
        square = (image_size, image_size)
        self.cameras = [
            SceneCamera(name, view, robot.sizes.get(view, square))
            for view, name in robot.cameras.items()
            if view in there
        ]
        self.place(robot.home)

    @property
    def q(self) -> np.ndarray:
        """Where the joints are, (n,) rad."""
        with self._lock:
            return self.data.qpos[self._joints]

    @property
    def dq(self) -> np.ndarray:
        """How fast they move, (n,) rad/s."""
        return self.data.qvel[self._velocities]

    @property
    def fingers(self) -> np.ndarray:
        """Where the fingers are (f,), in the driver's unit."""
        return np.concatenate([[], *(fingers.measure(self.data) for fingers in self._fingers)])

    @property
    def servo_lag(self) -> np.ndarray:
        """How long (n,) s a joint's servo is behind a goal that moves: damping by stiffness."""
        return self.model.actuator_biasprm[self._motors, 2] / self.model.actuator_biasprm[self._motors, 1]

    def place(self, q: np.ndarray) -> None:
        """Puts the joints at ``q`` (n,) rad, at rest."""
        with self._lock:
            self.data.qpos[self._joints], self.data.qvel[self._velocities] = q, 0.0
            mujoco.mj_forward(self.model, self.data)

    def stop_joints(self, chosen: np.ndarray) -> None:
        """The chosen joints (n,) bool stand still at once."""
        self.data.qvel[self._velocities[chosen]] = 0.0

    def step(self, goal: np.ndarray, openings: np.ndarray) -> None:
        """A period of ``twin_scene.PERIOD``; servos pull joints to ``goal`` (n,) rad and grippers to ``openings`` (g,),
        in the driver's unit."""
        with self._lock:
            self.data.ctrl[self._motors] = goal
            for fingers, opening in zip(self._fingers, openings, strict=True):
                fingers.drive(self.data, opening)
            mujoco.mj_step(self.model, self.data)

    def objects(self) -> dict[str, list[float]]:
        """Where the things that can be moved are: position (m) in the scene's frame, by body."""
        free = [joint for joint in range(self.model.njnt) if self.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE]
        bodies = [self.model.body(self.model.jnt_bodyid[joint]) for joint in free]
        return {body.name: self.data.xpos[body.id].round(4).tolist() for body in bodies}

    def film(self, rate: float, ends: threading.Event) -> None:
        """Renders the cameras ``rate`` times a second until ``ends`` is set."""
        look = mujoco.MjvOption()
        look.geomgroup[0] = 0  # collision shapes
        look.sitegroup[:] = 0
        shown = mujoco.MjData(self.model)
        with contextlib.ExitStack() as stack:
            renderers = {
                size: stack.enter_context(mujoco.Renderer(self.model, *size))
                for size in dict.fromkeys(camera.size for camera in self.cameras)
            }
            while not ends.wait(1 / rate):
                with self._lock:
                    shown.qpos[:] = self.data.qpos
                taken = time.monotonic()
                mujoco.mj_kinematics(self.model, shown)
                mujoco.mj_camlight(self.model, shown)
                for camera in self.cameras:
                    renderer = renderers[camera.size]
                    renderer.update_scene(shown, camera.view, look)
                    camera.show(renderer.render(), taken)

    def _motor(self, joint: int) -> int:
        """The actuator of a joint."""
        (found,) = np.flatnonzero(
            (self.model.actuator_trntype == JOINT_MOTOR) & (self.model.actuator_trnid[:, 0] == joint)
        )
        return int(found)


def beats(ends: threading.Event) -> Iterator[int]:
    """Numbers the world's periods from 0, each when it is due, until ``ends`` is set."""
    started, tick = time.monotonic(), 0
    while not ends.is_set():
        due = started + tick * PERIOD
        now = time.monotonic()
        if now - due > 0.1:  # the machine was busy: go on from here rather than catch up in a rush
            started, due = now - tick * PERIOD, now
        time.sleep(max(0.0, due - now))
        yield tick
        tick += 1
