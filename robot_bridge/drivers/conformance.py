"""Does a driver keep the rules of docs/robot_protocol.md? It is tried over its two sockets, the arm moves a little.

Try it on the twin: python -m robot_bridge.twin --camera-rate 0 & python -m robot_bridge.drivers.conformance
"""

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import msgpack
import numpy as np
import zmq

from common.cli import CommandParser, run
from common.errors import UserError
from robot_bridge.actions import openings
from robot_bridge.config import GripperConfig, RobotConfig, read_robot
from robot_bridge.drivers.protocol import STATE_TOPIC, RobotState, Target, pack_target, unpack_state
from robot_bridge.drivers.reception import TARGET_TIMEOUT

PERIOD = 0.05
"""Seconds between two targets."""
RATE = 90.0
"""States a second, at least: 100 less what a busy machine may lose."""
ARRIVED, STILL = 0.02, 0.005
"""Radians from a target that count as there, and of movement that count as none."""
QUIET = 20
"""States in which an arm that stands does not move."""
PATIENCE = 3.0
"""Seconds in which the arm must get to a place nearby."""


class Broken(Exception):
    """A rule that the driver does not keep, and how it showed."""


class Probe:
    """The loop's side of the two sockets, without any of the loop's good manners.

    ``joint`` (robot's order) is moved by ``reach`` and back; ``per_radian`` is the robot's unit.
    """

    def __init__(
        self,
        state_address: str,
        target_address: str,
        dof: int,
        joint: int,
        reach: float,
        per_radian: float,
        grippers: Sequence[GripperConfig] = (GripperConfig(),),
    ):
        self._dof, self._unit, self._grippers = dof, per_radian, grippers
        self._fingers = sum(gripper.fingers for gripper in grippers)
        context: zmq.Context = zmq.Context.instance()
        self._states, self._targets = context.socket(zmq.SUB), context.socket(zmq.PUB)
        self._states.subscribe(STATE_TOPIC)
        for socket, address in ((self._states, state_address), (self._targets, target_address)):
            socket.linger = 0
            socket.connect(address)
        self.seen: list[RobotState] = []
        self._seen_at = 0.0
        if not any(self.watch(0.5) for _ in range(10)):
            raise UserError(f"no states from {state_address} within 5 s; is the driver running?")
        self.home = self.newest.q
        self.away = self.home + np.eye(dof)[joint] * reach * per_radian
        self.openings = openings(grippers, self.newest.fingers)
        self.session, self.sequence = secrets.randbits(53), 0

    @classmethod
    def to(cls, config: RobotConfig, joint: int | None, reach: float) -> "Probe":
        """At the robot of a ``robot.yaml``; ``joint`` None is the last that the model has, ``reach`` is in rad.

        Raises:
            UserError: the robot has no such joint.
        """
        joint_map = config.joint_map
        joint = int(joint_map.index[joint_map.present][-1]) if joint is None else joint
        if not 0 <= joint < joint_map.real_dof:
            raise UserError(f"--joint must be 0 to {joint_map.real_dof - 1}")
        addresses = config.state_address, config.target_address
        return cls(*addresses, joint_map.real_dof, joint, reach, joint_map.per_radian, config.grippers)

    @property
    def newest(self) -> RobotState:
        """The newest state."""
        return self.seen[-1]

    def distance(self, q: np.ndarray) -> float:
        """Radians from the newest state to ``q``."""
        return float(np.abs(self.newest.q - q).max() / self._unit)

    def watch(self, seconds: float) -> list[RobotState]:
        """The states of that time."""
        ends, before = time.monotonic() + seconds, len(self.seen)
        while (left := ends - time.monotonic()) > 0:
            if self._states.poll(max(1, int(left * 1000))):
                self.seen.append(unpack_state(self._states.recv_multipart(), self._dof, self._fingers))
                self._seen_at = time.monotonic()
        return self.seen[before:]

    def moved(self, states: list[RobotState]) -> float:
        """Radians that any joint moved by in ``states``."""
        return float(np.ptp([state.q for state in states], axis=0).max() / self._unit) if states else 0.0

    def target(self, q: np.ndarray, stop: bool = False) -> Target:
        """The next target of this session."""
        self.sequence += 1
        clock = self.newest.time + time.monotonic() - self._seen_at
        return Target(self.session, self.sequence, q, self.openings, stop, self.newest.boot, clock)

    def send(self, target: Target | bytes, seconds: float = PERIOD) -> list[RobotState]:
        """Sends, and watches for a control period."""
        self._targets.send(target if isinstance(target, bytes) else pack_target(target))
        return self.watch(seconds)

    def ramp(self, q: np.ndarray, stop: bool = False, steps: int = 8) -> list[RobotState]:
        """Goes to ``q`` in equal steps from the home or away position that is nearest."""
        start = min((self.home, self.away), key=self.distance)
        return [
            state
            for step in range(1, steps + 1)
            for state in self.send(self.target(start + (q - start) * step / steps, stop))
        ]

    def reaches(self, q: np.ndarray, what: str, stop: bool = False) -> None:
        """Repeats ``q`` until the arm is there and stands."""
        ends = time.monotonic() + PATIENCE
        while self.distance(q) > ARRIVED or self.moved(self.seen[-QUIET:]) > STILL:
            if time.monotonic() > ends:
                raise Broken(f"{what}: {self.distance(q):.3f} rad from the target after {PATIENCE:g} s")
            self.send(self.target(q, stop))

    def stays(self, targets: Iterable[Target | bytes], what: str) -> None:
        """Sends ``targets`` that must not move the arm."""
        states = [self.newest, *(state for target in targets for state in self.send(target))]
        if self.moved(states) > STILL:
            raise Broken(f"{what}: the arm moved by {self.moved(states):.3f} rad")

    def other_openings(self) -> np.ndarray:
        """Where the fingers of each gripper (g,) clearly are not."""
        ends = [(gripper.closed, gripper.open) for gripper in self._grippers]
        return np.array(
            [max(pair, key=lambda end: abs(end - now)) for pair, now in zip(ends, self.openings, strict=True)]
        )

    def finger_still(self) -> np.ndarray:
        """What each finger (f,) may move by and still counts as standing: an eighth of its way."""
        ways = [abs(gripper.open - gripper.closed) / 8 for gripper in self._grippers]
        return np.repeat(ways, [gripper.fingers for gripper in self._grippers])

    def silence(self) -> None:
        """Long enough for another loop to take over."""
        self.watch(TARGET_TIMEOUT * 1.6)

    def close(self) -> None:
        """Leaves the driver without a loop."""
        self._states.close()
        self._targets.close()


def publishes_its_state(probe: Probe) -> None:
    """100 states a second, with numbers and a clock that grow, all of one start."""
    states = probe.watch(1.0)
    steps = np.diff([state.time for state in states])
    if len(states) < RATE / 2 or np.median(steps) > 1 / RATE:  # the median, as this machine may lose some
        raise Broken(f"{len(states)} states in a second, {np.median(steps) if len(steps) else 1:.3f} s apart")
    if not (np.diff([state.sequence for state in states]) > 0).all():
        raise Broken("seq does not grow with every state")
    if not 0.5 < steps.sum() < 1.5 or not (steps > 0).all():
        raise Broken(f"t ran {steps.sum():.3f} s in a second, is it in seconds and steady?")
    if len({state.boot for state in states}) > 1:
        raise Broken("boot changes while the driver runs")


def holds_before_the_first_target(probe: Probe) -> None:
    """No motion before the first target."""
    moved = probe.moved(probe.watch(0.5))
    if moved > STILL:
        raise Broken(f"the arm moved by {moved:.3f} rad")


def follows_targets(probe: Probe) -> None:
    """Goes where it is told, and back."""
    for goal in (probe.away, probe.home):
        probe.ramp(goal)
        probe.reaches(goal, "it does not go where it is told")


def drops_what_is_no_target(probe: Probe) -> None:
    """Another version, another number of joints, numbers that are not finite, noise."""
    good = msgpack.unpackb(pack_target(probe.target(probe.away)))
    for wrong, what in (
        ({"v": 0}, "a target of another version"),
        ({"q": good["q"][:-1]}, "a target with a joint too few"),
        ({"q": [*good["q"], 0.0]}, "a target with a joint too many"),
        ({"q": [float("nan"), *good["q"][1:]]}, "a target that is not a number"),
        ({"opening": [float("inf")] * len(probe.openings)}, "an infinite opening"),
    ):
        sequences = [probe.target(probe.away).sequence for _ in range(2)]
        probe.stays([msgpack.packb(good | wrong | {"seq": sequence}) for sequence in sequences], what)
    probe.stays([b"\xc1 noise"] * 2, "a message that is no target")
    probe.reaches(probe.home, "after bad messages it does not follow good ones")


def drops_what_is_not_newer(probe: Probe) -> None:
    """A target whose number is not above the last."""
    probe.send(probe.target(probe.home))
    old = replace(probe.target(probe.away), sequence=probe.sequence - 1)
    probe.stays([old] * 8, "an old target")


def drops_what_is_too_old(probe: Probe) -> None:
    """A target that was under way for more than 250 ms, or was meant for the driver before it was started anew."""
    probe.send(probe.target(probe.home))
    for number in range(4):
        late = probe.target(probe.away)
        probe.stays([replace(late, time=late.time - 2 * TARGET_TIMEOUT)], "a target from long ago")
        probe.stays([replace(probe.target(probe.away), boot=late.boot ^ 1)], "a target for another start of the driver")
        if number % 2:
            probe.send(probe.target(probe.home))


def gives_receipts(probe: Probe) -> None:
    """States name the loop that drives and the last target that was taken; no loop after 250 ms of silence."""
    for _ in range(4):
        probe.send(probe.target(probe.home))
    newest = probe.newest
    if newest.session != probe.session or not probe.sequence - 1 <= newest.target <= probe.sequence:
        raise Broken(
            f"after target {probe.sequence} of session {probe.session} the state names target {newest.target} "
            f"of session {newest.session}"
        )
    probe.silence()
    if probe.newest.session:
        raise Broken(
            f"the state still names session {probe.newest.session} after {1.6 * TARGET_TIMEOUT:g} s of silence"
        )


def follows_one_loop_at_a_time(probe: Probe) -> None:
    """Another session counts only when the first has been silent for 250 ms."""
    other = probe.session ^ 1
    for _ in range(8):
        states = [probe.newest, *probe.send(probe.target(probe.home), PERIOD / 2)]
        states += probe.send(replace(probe.target(probe.away), session=other), PERIOD / 2)
        if probe.moved(states) > STILL:
            raise Broken("it followed a second loop beside the first")
    probe.silence()
    probe.session = other
    probe.ramp(probe.away)
    probe.reaches(probe.away, "it does not follow another loop when the first is gone")
    probe.ramp(probe.home)
    probe.reaches(probe.home, "it does not follow another loop when the first is gone")


def holds_when_the_loop_is_gone(probe: Probe) -> None:
    """Without targets for 250 ms it brakes and holds."""
    probe.send(probe.target(probe.home + 0.4 * (probe.away - probe.home)))
    probe.watch(TARGET_TIMEOUT + 1.0)
    moved = probe.moved(probe.watch(0.5))
    if moved > STILL:
        raise Broken(f"the arm still moved, by {moved:.3f} rad, more than a second after the last target")
    probe.reaches(probe.home, "it does not follow targets after a pause")


def follows_the_braking_ramp(probe: Probe) -> None:
    """With stop the loop brakes: q is followed to its end, and the fingers stay."""
    fingers = probe.newest.fingers
    before = probe.openings
    probe.openings = probe.other_openings()
    probe.ramp(probe.away, stop=True)
    probe.reaches(probe.away, "it does not follow the ramp to its end", stop=True)
    probe.openings = before
    if (np.abs(probe.newest.fingers - fingers) > probe.finger_still()).any():
        raise Broken("the fingers moved")


def holds_where_it_stopped(probe: Probe) -> None:
    """After the ramp it stands, until targets without stop come."""
    probe.stays([probe.target(probe.away, stop=True) for _ in range(8)], "after the braking ramp")
    probe.ramp(probe.home)
    probe.reaches(probe.home, "after a stop it does not follow targets without stop")


CHECKS = (
    publishes_its_state,
    holds_before_the_first_target,
    follows_targets,
    drops_what_is_no_target,
    drops_what_is_not_newer,
    drops_what_is_too_old,
    gives_receipts,
    follows_one_loop_at_a_time,
    holds_when_the_loop_is_gone,
    follows_the_braking_ramp,
    holds_where_it_stopped,
)


@dataclass(frozen=True)
class Finding:
    """What became of one check; ``trouble`` is empty when the rule is kept."""

    name: str
    rule: str
    trouble: str


def check_driver(probe: Probe) -> list[Finding]:
    """Tries all rules, in order; each leaves the arm at home for the next."""
    findings = []
    for check in CHECKS:
        try:
            check(probe)
            trouble = ""
        except Broken as broken:
            trouble = str(broken)
        findings.append(Finding(check.__name__, (check.__doc__ or "").strip(), trouble))
    return findings


def main(argv: list[str]) -> int:
    """The command; its exit status is 1 when a rule is broken."""
    parser = CommandParser("robot_bridge.drivers.conformance", __doc__)
    parser.add_argument("--robot", default="twin", help="robot.yaml, or 'twin'")
    parser.add_argument("--joint", type=int, help="joint of the robot to move, counted from 0 (default: the last)")
    parser.add_argument("--reach", type=float, default=0.1, help="how far it is moved, rad (default 0.1)")
    arguments = parser.parse_args(argv)
    config = read_robot(arguments.robot)
    probe = Probe.to(config, arguments.joint, arguments.reach)
    try:
        findings = check_driver(probe)
    finally:
        probe.close()
    for finding in findings:
        print(f"{'BROKEN' if finding.trouble else 'kept  '}  {finding.rule}")
        if finding.trouble:
            print(f"        {finding.trouble}")
    return 1 if any(finding.trouble for finding in findings) else 0


if __name__ == "__main__":
    run(main)
