"""The digital twin: a Panda in MuJoCo behind the robot protocol, in a process of its own.

It behaves as a robot's controller does: 500 Hz, its own joint order, signs and offsets, cameras, and a watchdog that
holds when targets stop coming. Then: python -m robot_bridge.run --robot twin --task 'pick up the can'

While it runs, type faults: delay 0.1 | loss 0.3 | noise 0.01 | freeze 1 | stuck 3 | fault TEXT, 'fault' to clear it.
"""

import contextlib
import json
import signal
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field

import mujoco
import numpy as np
import zmq

from common.cli import CommandParser, run
from common.conventions import CONTROL_FREQUENCY
from common.errors import UserError
from robot_bridge.drivers.protocol import (
    CameraImage,
    ProtocolError,
    RobotState,
    Target,
    pack_image,
    pack_state,
)
from robot_bridge.drivers.reception import Reception
from robot_bridge.panda import HOME, JOINTS
from robot_bridge.twin_scene import PERIOD, load_scene

# How the twin is wired, written down apart from any robot.yaml, so that a wrong joint map shows.
MOTOR = (2, 4, 6, 1, 5, 3, 0)
"""The motor that moves each joint of the model."""
JOINT = tuple(MOTOR.index(motor) for motor in range(len(MOTOR)))
"""The joint that each motor moves."""
SIGN = np.array([1, -1, 1, -1, 1, -1, 1])
OFFSET = np.array([-0.2, 0.0, -1.0, 0.0, 0.3, 0.1, 0.5])
"""Of each joint of the model, rad."""

STATE_EVERY = 5
"""Control periods between two states on the wire: 100 Hz."""
AT_REST = 0.01
"""Rad/s of the fastest joint, below which the arm stands."""


@dataclass
class Faults:
    """What goes wrong on request; may be changed while the twin runs."""

    delay: float = 0.0
    """Seconds that states are late."""
    loss: float = 0.0
    """Share of the targets that get lost."""
    freeze: bool = False
    """No more states."""
    noise: float = 0.0
    """Standard deviation (rad) of the measured joint positions."""
    stuck: int | None = None
    """Joint, in the robot's order, that does not move any more."""
    fault: str = ""
    """What the robot reports as its own fault."""

    def set(self, line: str) -> None:
        """``freeze 1``, ``delay 0.1``, ``stuck 3``, ``stuck none``, ``fault motor hot``."""
        name, _, value = line.strip().partition(" ")
        try:
            if name in ("delay", "loss", "noise"):
                setattr(self, name, float(value))
            elif name == "freeze":
                self.freeze = value.strip() not in ("0", "off", "")
            elif name == "stuck":
                self.stuck = None if value.strip() in ("none", "") else int(value) % len(MOTOR)
            elif name == "fault":
                self.fault = value
            else:
                raise UserError(f"no such fault: {name!r}; there are delay, loss, noise, freeze, stuck and fault")
        except ValueError:
            raise UserError(f"fault {name} does not take {value!r}") from None


def to_motor(q: np.ndarray) -> np.ndarray:
    """The motors' positions (7,) for the model's joints (7,)."""
    return (SIGN * q + OFFSET)[list(JOINT)]


def from_motor(motors: np.ndarray) -> np.ndarray:
    """The positions of the model's joints (7,) for the motors' (7,)."""
    return SIGN * (motors[list(MOTOR)] - OFFSET)


@dataclass
class Twin:
    """Steps the model in real time and talks on two sockets until ``stop``; ``scene`` is a file (``twin_scene``)."""

    state_address: str
    target_address: str
    image_size: int = 128
    camera_rate: float = CONTROL_FREQUENCY
    faults: Faults = field(default_factory=Faults)
    scene: str | None = None

    def __post_init__(self) -> None:
        scene = load_scene(self.scene)
        self.model, self.notice = scene.model, scene.notice
        self.data = mujoco.MjData(self.model)
        for joint, positions in scene.start.items():
            self.data.joint(joint).qpos[:] = positions
        self._joints = np.array([int(self.model.joint(name).qposadr[0]) for name in JOINTS])
        self._fingers = np.array([int(self.model.joint(f"gripper_finger_joint{n}").qposadr[0]) for n in (1, 2)])
        self._velocities = np.array([int(self.model.joint(name).dofadr[0]) for name in JOINTS])
        self.data.qpos[self._joints] = HOME
        self._wish = np.array(HOME)
        self._held = self._wish.copy()
        self._opening = 0.04
        self.data.qpos[self._fingers] = self._opening, -self._opening
        mujoco.mj_forward(self.model, self.data)
        self._rng = np.random.default_rng(0)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._reception = Reception(len(MOTOR))
        self._began = time.monotonic()
        self._driven = False
        self._braking: np.ndarray | None = None  # the last target, if it was one with stop
        self._standing = self._settling = False
        context: zmq.Context = zmq.Context.instance()
        self._out, self._in = context.socket(zmq.PUB), context.socket(zmq.SUB)
        self._out.setsockopt(zmq.LINGER, 0)
        self._out.setsockopt(zmq.SNDHWM, 100)
        self._in.setsockopt(zmq.CONFLATE, 1)  # only the newest target matters
        self._in.subscribe(b"")
        try:
            self._out.bind(self.state_address)
            self._in.bind(self.target_address)
        except zmq.ZMQError as error:
            raise UserError(f"the twin cannot listen: {error}; choose other addresses") from None
        self.state_address = self._out.getsockopt_string(zmq.LAST_ENDPOINT)
        self.target_address = self._in.getsockopt_string(zmq.LAST_ENDPOINT)
        self._late: deque[tuple[float, list[bytes]]] = deque()
        self._pictures: deque[tuple[float, str, int, np.ndarray]] = deque(maxlen=4)

    def run(self) -> None:
        """The 500 Hz loop; cameras are rendered in a thread beside it."""
        camera = threading.Thread(target=self._film, name="cameras", daemon=True)
        if self.camera_rate > 0:
            camera.start()
        started = time.monotonic()
        tick = 0
        while not self._stopping.is_set():
            due = started + tick * PERIOD
            now = time.monotonic()
            if now - due > 0.1:  # the machine was busy: go on from here rather than catch up in a rush
                started, due = now - tick * PERIOD, now
            time.sleep(max(0.0, due - now))
            self._listen(self._clock())
            with self._lock:
                self._control()
                mujoco.mj_step(self.model, self.data)
            if tick % STATE_EVERY == 0:
                self._tell(tick)
            tick += 1
        if camera.is_alive():
            camera.join(5)
        self._out.close()
        self._in.close(linger=0)

    def stop(self) -> None:
        """Ends ``run``."""
        self._stopping.set()

    def objects(self) -> dict[str, list[float]]:
        """Where the things that can be moved are: position (m) in the scene's frame, by body."""
        free = [joint for joint in range(self.model.njnt) if self.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE]
        bodies = [self.model.body(self.model.jnt_bodyid[joint]) for joint in free]
        return {body.name: self.data.xpos[body.id].round(4).tolist() for body in bodies}

    def _clock(self) -> float:
        """The robot's own steady clock, s. It goes on when the machine is too busy to step the model in time."""
        return time.monotonic() - self._began

    def _listen(self, now: float) -> None:
        with contextlib.suppress(zmq.Again):
            frame = self._in.recv(zmq.NOBLOCK)
            try:
                target = self._reception.take(frame, now) if self._rng.random() >= self.faults.loss else None
            except ProtocolError as error:
                print(f"target dropped: {error}", file=sys.stderr)
            else:
                if target is not None:
                    self._follow(target)
        driven = self._reception.session(now) != 0
        if self._driven and not driven:  # the loop is gone
            self._wish, self._settling = self._held.copy(), True
        self._driven = driven

    def _follow(self, target: Target) -> None:
        """A target with ``stop`` is a braking ramp; when that stands the arm holds where it then is."""
        stands = target.stop and self._braking is not None and np.array_equal(target.q, self._braking)
        if not stands:
            self._wish, self._settling = from_motor(target.q), False
        elif not self._standing:
            self._settling = True
        self._standing, self._braking = stands, target.q if target.stop else None
        if not target.stop:
            self._opening = float(np.clip(target.opening, 0.0, 0.04))

    def _settle(self) -> None:
        """Once the arm has come to rest that is its place: a joint that could not follow is pushed no more."""
        if self._settling and np.abs(self.data.qvel[self._velocities]).max() < AT_REST:
            self._held = self.data.qpos[self._joints].copy()
            self._wish, self._settling = self._held.copy(), False

    def _control(self) -> None:
        """Approaches the wish over about one command period, as a robot's interpolator does."""
        self._settle()
        step = np.clip(self._wish - self._held, -2.6 * PERIOD, 2.6 * PERIOD)
        self._held += step * 0.5 if np.abs(step).max() < 2.6 * PERIOD else step
        goal = self._held.copy()
        if self.faults.stuck is not None:
            joint = JOINT[self.faults.stuck]
            goal[joint] = self.data.qpos[self._joints[joint]]
            self.data.qvel[self._velocities[joint]] = 0.0
        self.data.ctrl[:7] = goal
        self.data.ctrl[7:9] = self._opening, -self._opening

    def _tell(self, tick: int) -> None:
        now = time.monotonic()
        if not self.faults.freeze:
            q = self.data.qpos[self._joints]
            q = q + self._rng.normal(0, self.faults.noise, len(q)) if self.faults.noise else q
            dq = (SIGN * self.data.qvel[self._velocities])[list(JOINT)]
            clock, fingers = self._clock(), self.data.qpos[self._fingers]
            receipt = (self._reception.boot, self._reception.session(clock), self._reception.last_sequence)
            state = RobotState(tick, clock, to_motor(q), dq, fingers, self.faults.fault, *receipt, self.notice)
            self._late.append((now + self.faults.delay, pack_state(state)))
        while self._late and self._late[0][0] <= now:
            self._out.send_multipart(self._late.popleft()[1], zmq.NOBLOCK)
        while self._pictures:
            taken, name, sequence, pixels = self._pictures.popleft()
            self._out.send_multipart(pack_image(CameraImage(name, sequence, pixels, now - taken)), zmq.NOBLOCK)

    def _film(self) -> None:
        """Renders both cameras; only the main thread touches the sockets."""
        size = self.image_size
        look = mujoco.MjvOption()
        look.geomgroup[0] = 0  # collision shapes
        look.sitegroup[:] = 0
        shown = mujoco.MjData(self.model)
        sequence = 0
        with mujoco.Renderer(self.model, size, size) as renderer:
            while not self._stopping.wait(1 / self.camera_rate):
                with self._lock:
                    shown.qpos[:] = self.data.qpos
                taken = time.monotonic()
                mujoco.mj_kinematics(self.model, shown)
                mujoco.mj_camlight(self.model, shown)
                sequence += 1
                for name in ("agentview", "eye_in_hand"):
                    renderer.update_scene(shown, name, look)
                    self._pictures.append((taken, name, sequence, renderer.render()))


def main(argv: list[str]) -> None:
    """The command."""
    parser = CommandParser("robot_bridge.twin", __doc__)
    parser.add_argument("--state-address", default="tcp://127.0.0.1:5601", help="where state and images are published")
    parser.add_argument("--target-address", default="tcp://127.0.0.1:5602", help="where targets are taken")
    parser.add_argument(
        "--scene", metavar="FILE", help="MJCF to stand in, as 'python -m sim.scene' writes of LIBERO's tasks"
    )
    parser.add_argument("--image-size", type=int, default=128, help="height and width of the camera images")
    parser.add_argument("--camera-rate", type=float, default=CONTROL_FREQUENCY, help="images a second; 0 renders none")
    parser.add_argument("--fault", action="append", default=[], metavar="'NAME VALUE'", help="a fault from the start")
    arguments = parser.parse_args(argv)
    faults = Faults()
    for line in arguments.fault:
        faults.set(line)
    addresses = arguments.state_address, arguments.target_address
    twin = Twin(*addresses, arguments.image_size, arguments.camera_rate, faults, arguments.scene)
    if twin.notice:
        print(f"warning: {twin.notice}", file=sys.stderr)
    threading.Thread(target=_read_faults, args=(faults,), daemon=True).start()
    print(f"twin: state at {twin.state_address}, targets at {twin.target_address}", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: twin.stop())
    twin.run()
    print(json.dumps({"objects": twin.objects()}))


def _read_faults(faults: Faults) -> None:
    for line in sys.stdin:
        try:
            if line.strip():
                faults.set(line)
                print(f"faults: {faults}", flush=True)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
