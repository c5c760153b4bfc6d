"""The digital twin: a robot in MuJoCo behind the robot protocol, in a process of its own.

It behaves as a robot's controller does: 500 Hz, its own joint order, signs and offsets, cameras, and a watchdog that
holds when targets stop coming. Then: python -m robot_bridge.run --robot twin --task 'pick up the can'
It is a Panda, or whatever the robot.yaml of --robot describes: --robot ur5e, --robot so101, --robot my_arms.yaml

While it runs, type faults: delay 0.1 | loss 0.3 | noise 0.01 | freeze 1 | stuck 3 | fault TEXT, 'fault' to clear it.
Or guide the arm, as a hand would: guide joint1 0.4 | guide home | guide hand 0.5 0.2 0.3 | guide gripper 0
"""

import contextlib
import json
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import mujoco
import numpy as np
import zmq

from common.cli import CommandParser, run
from common.conventions import CONTROL_FREQUENCY
from common.errors import UserError
from robot_bridge.config import TEMPLATES, GripperConfig, read_robot
from robot_bridge.drivers.protocol import (
    CameraImage,
    ProtocolError,
    RobotState,
    Target,
    pack_image,
    pack_state,
)
from robot_bridge.drivers.reception import Reception
from robot_bridge.twin_guide import Guide
from robot_bridge.twin_robot import TwinRobot, panda_twin, twin_of
from robot_bridge.twin_scene import PERIOD, load_scene

STATE_EVERY = 5
"""Control periods between two states on the wire: 100 Hz."""
AT_REST = 0.01
"""Rad/s of the fastest joint, below which the arm stands."""
JOINT_MOTOR = int(mujoco.mjtTrn.mjTRN_JOINT)


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
    """Joint, in the robot's order, counted from 0, that does not move any more."""
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
                self.stuck = None if value.strip() in ("none", "") else int(value)
            elif name == "fault":
                self.fault = value
            else:
                raise UserError(f"no such fault: {name!r}; there are delay, loss, noise, freeze, stuck and fault")
        except ValueError:
            raise UserError(f"fault {name} does not take {value!r}") from None


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


@dataclass
class Twin:
    """Steps the model in real time and talks on two sockets until ``stop``; ``scene`` is a file (``twin_scene``).

    ``image_size`` is that of images whose size ``robot`` does not say.
    """

    state_address: str
    target_address: str
    image_size: int = 128
    camera_rate: float = CONTROL_FREQUENCY
    faults: Faults = field(default_factory=Faults)
    scene: str | None = None
    robot: TwinRobot = field(default_factory=panda_twin)

    def __post_init__(self) -> None:
        robot = self.robot
        scene = load_scene(robot, self.scene)
        self.model, self.notice = scene.model, scene.notice
        self.data = mujoco.MjData(self.model)
        for joint, positions in scene.start.items():
            self.data.joint(joint).qpos[:] = positions
        parts = [self.model.joint(name) for name in robot.joints]
        self._joints = np.array([int(part.qposadr[0]) for part in parts])
        self._velocities = np.array([int(part.dofadr[0]) for part in parts])
        self._motors = np.array([self._motor(part.id) for part in parts])
        self._fingers = [Fingers(self.model, gripper, self._motor) for gripper in robot.grippers]
        self.data.qpos[self._joints] = robot.home
        self._wish = robot.home.copy()
        self._held = self._wish.copy()
        self._openings = np.array([gripper.open for gripper in robot.grippers])
        for fingers in self._fingers:
            fingers.place(self.data)
        self._others = np.zeros(robot.wiring.real_dof)  # where the robot's joints are that the model lacks
        mujoco.mj_forward(self.model, self.data)
        self._rng = np.random.default_rng(0)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._reception = Reception(robot.wiring.real_dof, len(robot.grippers))
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

    def joints(self) -> np.ndarray:
        """Where they are (n,) rad, simulator order."""
        with self._lock:
            return self.data.qpos[self._joints].copy()

    def lead(self, q: np.ndarray, opening: float | None = None) -> None:
        """As a person's hand: to joints (n,) rad, and all grippers to ``opening``, in their drivers' unit.

        Raises:
            UserError: a loop drives the robot.
        """
        with self._lock:
            if self._driven:
                raise UserError("a loop drives the twin; nobody can guide it")
            self._wish, self._settling = q.copy(), False
            if opening is not None:
                self._openings[:] = opening

    def objects(self) -> dict[str, list[float]]:
        """Where the things that can be moved are: position (m) in the scene's frame, by body."""
        free = [joint for joint in range(self.model.njnt) if self.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE]
        bodies = [self.model.body(self.model.jnt_bodyid[joint]) for joint in free]
        return {body.name: self.data.xpos[body.id].round(4).tolist() for body in bodies}

    def _motor(self, joint: int) -> int:
        """The actuator of a joint."""
        (found,) = np.flatnonzero(
            (self.model.actuator_trntype == JOINT_MOTOR) & (self.model.actuator_trnid[:, 0] == joint)
        )
        return int(found)

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
            self._wish, self._settling = self.robot.wiring.to_sim(target.q, self.robot.home), False
            self._others = target.q.copy()
        elif not self._standing:
            self._settling = True
        self._standing, self._braking = stands, target.q if target.stop else None
        if not target.stop:
            ends = np.array([sorted((gripper.closed, gripper.open)) for gripper in self.robot.grippers]).reshape(-1, 2)
            self._openings = np.clip(target.openings, ends[:, 0], ends[:, 1])

    def _settle(self) -> None:
        """Once the arm has come to rest that is its place: a joint that could not follow is pushed no more."""
        if self._settling and np.abs(self.data.qvel[self._velocities]).max() < AT_REST:
            self._held = self.data.qpos[self._joints].copy()
            self._wish, self._settling = self._held.copy(), False

    def _control(self) -> None:
        """Approaches the wish over about one command period, as a robot's interpolator does."""
        self._settle()
        most = self.robot.speed * PERIOD
        step = np.clip(self._wish - self._held, -most, most)
        self._held += step * 0.5 if (np.abs(step) < most).all() else step
        goal = self._held.copy()
        if self.faults.stuck is not None:
            joint = self.robot.wiring.index == self.faults.stuck
            goal[joint] = self.data.qpos[self._joints[joint]]
            self.data.qvel[self._velocities[joint]] = 0.0
        self.data.ctrl[self._motors] = goal
        for fingers, opening in zip(self._fingers, self._openings, strict=True):
            fingers.drive(self.data, opening)

    def _tell(self, tick: int) -> None:
        now = time.monotonic()
        if not self.faults.freeze:
            q = self.data.qpos[self._joints]
            q = q + self._rng.normal(0, self.faults.noise, len(q)) if self.faults.noise else q
            wiring, zeros = self.robot.wiring, np.zeros(self.robot.wiring.real_dof)
            dq = wiring.to_real(self.data.qvel[self._velocities], zeros) - wiring.to_real(0 * q, zeros)
            clock, fingers = self._clock(), np.concatenate([[], *(part.measure(self.data) for part in self._fingers)])
            receipt = (self._reception.boot, self._reception.session(clock), self._reception.last_sequence)
            q = wiring.to_real(q, self._others)
            state = RobotState(tick, clock, q, dq, fingers, self.faults.fault, *receipt, self.notice)
            self._late.append((now + self.faults.delay, pack_state(state)))
        while self._late and self._late[0][0] <= now:
            self._out.send_multipart(self._late.popleft()[1], zmq.NOBLOCK)
        while self._pictures:
            taken, name, sequence, pixels = self._pictures.popleft()
            self._out.send_multipart(
                pack_image(CameraImage(name, sequence, pixels, time.monotonic() - taken)), zmq.NOBLOCK
            )

    def _film(self) -> None:
        """Renders the cameras; only the main thread touches the sockets."""
        there = {self.model.camera(number).name for number in range(self.model.ncam)}
        cameras = {view: name for view, name in self.robot.cameras.items() if view in there}
        square = (self.image_size, self.image_size)
        sizes = {view: self.robot.sizes.get(view, square) for view in cameras}
        look = mujoco.MjvOption()
        look.geomgroup[0] = 0  # collision shapes
        look.sitegroup[:] = 0
        shown = mujoco.MjData(self.model)
        sequence = 0
        with contextlib.ExitStack() as stack:
            renderers = {
                size: stack.enter_context(mujoco.Renderer(self.model, *size)) for size in dict.fromkeys(sizes.values())
            }
            while not self._stopping.wait(1 / self.camera_rate):
                with self._lock:
                    shown.qpos[:] = self.data.qpos
                taken = time.monotonic()
                mujoco.mj_kinematics(self.model, shown)
                mujoco.mj_camlight(self.model, shown)
                sequence += 1
                for view, name in cameras.items():
                    renderer = renderers[sizes[view]]
                    renderer.update_scene(shown, view, look)
                    self._pictures.append((taken, name, sequence, renderer.render()))


def main(argv: list[str]) -> None:
    """The command."""
    parser = CommandParser("robot_bridge.twin", __doc__)
    parser.add_argument("--robot", default="twin", help=f"robot.yaml, or {', '.join(TEMPLATES)} (default: a Panda)")
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
    config = read_robot(arguments.robot)
    robot = panda_twin() if arguments.robot == "twin" else twin_of(config)
    twin = Twin(*addresses, arguments.image_size, arguments.camera_rate, faults, arguments.scene, robot)
    if twin.notice:
        print(f"warning: {twin.notice}", file=sys.stderr)
    guide = Guide(config, robot.home, twin)
    threading.Thread(target=_read_orders, args=(faults, guide), daemon=True).start()
    print(f"twin: state at {twin.state_address}, targets at {twin.target_address}", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: twin.stop())
    twin.run()
    print(json.dumps({"objects": twin.objects()}))


def _read_orders(faults: Faults, guide: Guide) -> None:
    """Faults, and where to be guided, from standard input."""
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        try:
            if word == "guide":
                guide.obey(rest)
            elif word:
                faults.set(line)
                print(f"faults: {faults}", flush=True)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
