"""The digital twin: a robot in MuJoCo behind the robot protocol, in a process of its own.

It behaves as a robot's controller does: 500 Hz, its own joint order, signs and offsets, cameras, and a watchdog that
holds when targets stop coming. Then: python -m robot_bridge.run --robot twin --task 'pick up the can'
It is a Panda, or whatever the robot.yaml of --robot describes: --robot ur5e, --robot so101, --robot my_arms.yaml

With --follow it goes where another robot is, and lends it a scene and cameras: python -m robot_bridge.twin --robot
franka.yaml --follow --scene scene.xml

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
from dataclasses import dataclass, field

import numpy as np
import zmq

from common.cli import CommandParser, run
from common.conventions import CONTROL_FREQUENCY
from common.errors import UserError
from robot_bridge.camera import send
from robot_bridge.config import TEMPLATES, read_robot
from robot_bridge.drivers.protocol import ProtocolError, RobotState, Target, pack_state
from robot_bridge.drivers.reception import Reception
from robot_bridge.shadow import Shadow
from robot_bridge.twin_guide import Guide
from robot_bridge.twin_robot import TwinRobot, panda_twin, twin_of
from robot_bridge.twin_scene import PERIOD
from robot_bridge.twin_world import World, beats

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
        self.world = World(robot, self.scene, self.image_size)
        self._wish = robot.home.copy()
        self._held = self._wish.copy()
        self._openings = np.array([gripper.open for gripper in robot.grippers])
        self._others = np.zeros(robot.wiring.real_dof)  # where the robot's joints are that the model lacks
        self._rng = np.random.default_rng(0)
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

    def run(self) -> None:
        """The 500 Hz loop; cameras are rendered in a thread beside it."""
        camera = threading.Thread(
            target=self.world.film, args=(self.camera_rate, self._stopping), name="cameras", daemon=True
        )
        if self.camera_rate > 0:
            camera.start()
        for tick in beats(self._stopping):
            self._listen(self._clock())
            self._control()
            if tick % STATE_EVERY == 0:
                self._tell(tick)
        if camera.is_alive():
            camera.join(5)
        self._out.close()
        self._in.close(linger=0)

    def stop(self) -> None:
        """Ends ``run``."""
        self._stopping.set()

    def joints(self) -> np.ndarray:
        """Where they are (n,) rad, simulator order."""
        return self.world.q

    def lead(self, q: np.ndarray, opening: float | None = None) -> None:
        """As a person's hand: to joints (n,) rad, and all grippers to ``opening``, in their drivers' unit.

        Raises:
            UserError: a loop drives the robot.
        """
        if self._driven:
            raise UserError("a loop drives the twin; nobody can guide it")
        self._settling = False
        self._wish = q.copy()
        if opening is not None:
            self._openings[:] = opening

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
        if self._settling and np.abs(self.world.dq).max() < AT_REST:
            self._held = self.world.q
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
            goal[joint] = self.world.q[joint]
            self.world.stop_joints(joint)
        self.world.step(goal, self._openings)

    def _tell(self, tick: int) -> None:
        now = time.monotonic()
        if not self.faults.freeze:
            q = self.world.q
            q = q + self._rng.normal(0, self.faults.noise, len(q)) if self.faults.noise else q
            wiring, zeros = self.robot.wiring, np.zeros(self.robot.wiring.real_dof)
            dq = wiring.to_real(self.world.dq, zeros) - wiring.to_real(0 * q, zeros)
            clock, fingers = self._clock(), self.world.fingers
            receipt = (self._reception.boot, self._reception.session(clock), self._reception.last_sequence)
            q = wiring.to_real(q, self._others)
            state = RobotState(tick, clock, q, dq, fingers, self.faults.fault, *receipt, self.world.notice)
            self._late.append((now + self.faults.delay, pack_state(state)))
        while self._late and self._late[0][0] <= now:
            self._out.send_multipart(self._late.popleft()[1], zmq.NOBLOCK)
        for camera in self.world.cameras:
            send(camera, self._out)


def main(argv: list[str]) -> None:
    """The command."""
    parser = CommandParser("robot_bridge.twin", __doc__)
    parser.add_argument("--robot", default="twin", help=f"robot.yaml, or {', '.join(TEMPLATES)} (default: a Panda)")
    parser.add_argument("--state-address", default="tcp://127.0.0.1:5601", help="where state and images are published")
    parser.add_argument("--target-address", default="tcp://127.0.0.1:5602", help="where targets are taken")
    parser.add_argument(
        "--follow",
        action="store_true",
        help="go where the robot at the addresses of --robot's file is, and publish the cameras at its camera_address",
    )
    parser.add_argument(
        "--scene", metavar="FILE", help="MJCF to stand in, as 'python -m sim.scene' writes of LIBERO's tasks"
    )
    parser.add_argument("--image-size", type=int, default=128, help="height and width of the camera images")
    parser.add_argument("--camera-rate", type=float, default=CONTROL_FREQUENCY, help="images a second; 0 renders none")
    parser.add_argument("--fault", action="append", default=[], metavar="'NAME VALUE'", help="a fault from the start")
    arguments = parser.parse_args(argv)
    picture = arguments.image_size, arguments.camera_rate
    twin: Twin | Shadow
    if arguments.follow:
        for option in ("state_address", "target_address", "fault"):
            if getattr(arguments, option) != parser.get_default(option):
                raise UserError(f"--{option.replace('_', '-')} is not for --follow; robot.yaml says where the robot is")
        twin = Shadow(read_robot(arguments.robot), *picture, arguments.scene)
        print(f"shadow: follows {twin.config.name} at {twin.config.state_address}", flush=True)
    else:
        faults = Faults()
        for line in arguments.fault:
            faults.set(line)
        addresses = arguments.state_address, arguments.target_address
        config = read_robot(arguments.robot)
        robot = panda_twin() if arguments.robot == "twin" else twin_of(config)
        twin = Twin(*addresses, *picture, faults, arguments.scene, robot)
        guide = Guide(config, robot.home, twin)
        threading.Thread(target=_read_orders, args=(faults, guide), daemon=True).start()
        print(f"twin: state at {twin.state_address}, targets at {twin.target_address}", flush=True)
    if twin.world.notice:
        print(f"warning: {twin.world.notice}", file=sys.stderr)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: twin.stop())
    twin.run()
    print(json.dumps({"objects": twin.world.objects()}))


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
