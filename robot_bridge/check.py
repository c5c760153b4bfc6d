"""Check a driver before an arm is trusted to it; the arm stands in the open, a hand is on the emergency stop.

It moves each joint a little: it tries the rules of docs/robot_protocol.md, measures rates and latencies, looks at
order, sign and unit of the joints, and ends in a table with what to mend.
Try it on the twin: python -m robot_bridge.twin --camera-rate 0 & python -m robot_bridge.check twin --at-home
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.cli import CommandParser, positive_number, run
from common.errors import UserError
from robot_bridge.config import RobotConfig, read_robot
from robot_bridge.drivers.conformance import Broken, Finding, Probe, check_driver
from robot_bridge.drivers.reception import TARGET_TIMEOUT

MENDS = {
    "publishes_its_state": "publish at 100 Hz or more; seq and t with every measurement; draw boot once, at the start",
    "holds_before_the_first_target": "hold until a target comes; look at the arm's own brakes and gains",
    "follows_targets": "is the driver in fault? Are joints, unit and target_address right? Interpolate to each target",
    "drops_what_is_no_target": "drop what has another v, another number of joints, or a number that is not finite",
    "drops_what_is_not_newer": "drop targets whose seq is not above the session's last",
    "drops_what_is_too_old": "drop targets whose t is 250 ms from your clock, or whose boot is not yours",
    "gives_receipts": "say session and target in every state; session 0 after 250 ms of silence",
    "follows_one_loop_at_a_time": "follow one session until it has been silent for 250 ms",
    "holds_when_the_loop_is_gone": "brake by yourself after 250 ms without a target, and hold where the arm then is",
    "follows_the_braking_ramp": "follow q of targets with stop like any other; leave the fingers",
    "holds_where_it_stopped": "hold where the arm stands once two targets with stop have the same q",
    "states_come_on_time": "a busy machine, or a queue on the way: real-time priority, a cable of its own",
    "answers_quickly": "latency.arm in robot.yaml is what this says; a servo that lags more needs higher gains",
    "measures_velocity": "dq is in the unit of q a second, in the same order and sign",
    "joints_are_where_the_model_has_them": "sim_to_real_idx, sign, offset and unit in joint_map (docs/robot.md)",
    "one_joint_moves_at_a_time": "q of targets and q of states have the same order, sign and unit; see docs/robot.md",
    "the_gripper_moves": "gripper in robot.yaml: open, closed, fingers; is the hand switched on?",
}
"""What to do about each check that fails."""
SLOWEST = 0.4
"""Seconds that an arm may be behind its targets."""
BROUGHT = 0.15
"""Rad that an arm which was brought to its home by hand may be from it."""
BENT = 0.3
"""Share of a joint's movement that another may make, which stands."""


@dataclass(frozen=True)
class Measurement:
    """What a check has seen, for people; it may stand beside a check that is kept."""

    name: str
    text: str


class Checkup:
    """The checks that need more than the protocol: numbers, and the description of the robot."""

    def __init__(self, config: RobotConfig, probe: Probe, reach: float, at_home: bool = False):
        self._config, self._probe, self._reach, self._at_home = config, probe, reach, at_home
        self.measured: list[Measurement] = []

    def stand(self) -> list[Finding]:
        """The checks that move nothing; first, as the arm may not be moved when the last of them fails."""
        return self._all(self.joints_are_where_the_model_has_them)

    def move(self) -> list[Finding]:
        """The others."""
        return self._all(
            self.states_come_on_time,
            self.one_joint_moves_at_a_time,
            self.measures_velocity,
            self.answers_quickly,
            self.the_gripper_moves,
        )

    def _all(self, *checks: Callable[[], None]) -> list[Finding]:
        findings = []
        for check in checks:
            try:
                check()
                trouble = ""
            except Broken as broken:
                trouble = str(broken)
            findings.append(Finding(check.__name__, (check.__doc__ or "").strip(), trouble))
        return findings

    def states_come_on_time(self) -> None:
        """States come without gaps that the loop would stop for (safety.state_timeout)."""
        arrivals = []
        ends = time.monotonic() + 2.0
        while time.monotonic() < ends:
            arrivals += [time.monotonic()] * bool(self._probe.watch(0.004))
        gaps = np.diff(arrivals)
        if len(gaps) < 20:
            raise Broken(f"{len(arrivals)} times in 2 s did states come")
        usual, longest = float(np.percentile(gaps, 99)), float(gaps.max())
        self._note("states_come_on_time", f"gaps up to {usual * 1e3:.0f} ms (p99), {longest * 1e3:.0f} ms at most")
        if longest > self._config.safety.state_timeout:
            raise Broken(f"none came for {longest:.3f} s; state_timeout is {self._config.safety.state_timeout:g} s")

    def joints_are_where_the_model_has_them(self) -> None:
        """By the joint map the measured joints lie in their ranges, and at home when the arm was brought there."""
        config, q = self._config, self._sim()
        outside = (q < config.safety.lower - 0.02) | (q > config.safety.upper + 0.02)
        outside &= config.joint_map.present
        if outside.any():
            names = [f"{config.joints[joint]} at {q[joint]:.2f} rad" for joint in np.flatnonzero(outside)]
            raise Broken(f"outside safety.position: {', '.join(names)}")
        if self._at_home and config.home is not None:
            away = np.where(config.joint_map.present, q - config.home, 0.0)
            if np.abs(away).max() > BROUGHT:
                names = [f"{config.joints[joint]} {away[joint]:+.2f}" for joint in np.flatnonzero(abs(away) > BROUGHT)]
                raise Broken(f"rad from home, where the arm was brought to: {', '.join(names)}")

    def one_joint_moves_at_a_time(self) -> None:
        """Each joint of the model moves that joint, by as much, in its direction, and no other."""
        config, probe = self._config, self._probe
        for joint in np.flatnonzero(config.joint_map.present):
            before = self._sim()
            room = config.safety.upper[joint] - config.safety.margin - before[joint]
            step = self._reach if room > 2 * self._reach else -self._reach
            goal = before + np.eye(len(before))[joint] * step
            self._go(before, goal)
            moved = self._sim() - before
            self._go(goal, before)
            others = np.delete(np.abs(moved), joint).max(initial=0.0)
            if abs(moved[joint] - step) > BENT * self._reach or others > BENT * self._reach:
                seen = ", ".join(f"{name} {way:+.3f}" for name, way in zip(config.joints, moved, strict=True))
                raise Broken(f"{config.joints[joint]} was sent by {step:+.3f} rad; seen: {seen}")
        probe.home = probe.newest.q

    def measures_velocity(self) -> None:
        """dq is how fast q changes."""
        before = self._sim()
        joint = int(np.flatnonzero(self._config.joint_map.present)[-1])
        states = self._go(before, before + np.eye(len(before))[joint] * self._way(before, joint))
        states += self._go(self._sim(), before)
        if len(states) < 10:
            raise Broken(f"only {len(states)} states came while the arm was moved")
        place = int(self._config.joint_map.index[joint])
        q, dq = (np.array([getattr(state, part)[place] for state in states]) for part in ("q", "dq"))
        times = np.array([state.time for state in states])
        way = np.ptp(q)
        summed = np.ptp(np.concatenate([[0.0], np.cumsum(np.diff(times) * (dq[1:] + dq[:-1]) / 2)]))
        if way <= 0 or not 0.6 < summed / way < 1.6:
            raise Broken(f"q moved by {way:.3f}, dq adds up to {summed:.3f}")

    def answers_quickly(self) -> None:
        """The arm begins to move, and ends, soon after its targets."""
        before = self._sim()
        joint = int(np.flatnonzero(self._config.joint_map.present)[-1])
        goal = before + np.eye(len(before))[joint] * self._way(before, joint)
        place = int(self._config.joint_map.index[joint])
        began = time.monotonic()
        start = self._probe.newest.q[place]
        end = self._real(goal)[place]
        self._ramp(before, goal, until=lambda: abs(self._probe.newest.q[place] - start) > 0.5 * abs(end - start))
        # Half the way of a straight ramp is over at half its time; what it takes longer is the arm's.
        latency = time.monotonic() - began - self._probe_period() * RAMP / 2
        self._go(self._sim(), before)
        self._note("answers_quickly", f"the arm is about {max(0.0, latency):.3f} s behind its targets")
        if latency > SLOWEST:
            raise Broken(f"the arm is {latency:.2f} s behind its targets")

    def the_gripper_moves(self) -> None:
        """Each gripper goes from where it is to its other end, and back."""
        probe, grippers = self._probe, self._config.grippers
        if not grippers:
            return
        before, ways = probe.openings.copy(), probe.finger_still() * 8
        for opening in (probe.other_openings(), before):
            probe.openings = opening
            wished = np.repeat(opening, [gripper.fingers for gripper in grippers])
            ends = time.monotonic() + 5.0
            while (np.abs(np.abs(probe.newest.fingers) - wished) > 0.25 * ways).any():
                if time.monotonic() > ends:
                    raise Broken(f"fingers at {probe.newest.fingers.round(3).tolist()}, told {opening.tolist()}")
                probe.send(probe.target(probe.home))
        probe.openings = before

    def _way(self, q: np.ndarray, joint: int) -> float:
        room = self._config.safety.upper[joint] - self._config.safety.margin - q[joint]
        return self._reach if room > 2 * self._reach else -self._reach

    def _sim(self) -> np.ndarray:
        """Measured, simulator order (n,) rad."""
        return self._config.joint_map.to_sim(self._probe.newest.q, np.zeros(len(self._config.joints)))

    def _real(self, q: np.ndarray) -> np.ndarray:
        return self._config.joint_map.to_real(q, self._probe.home)

    def _probe_period(self) -> float:
        return 1 / self._config.rate

    def _ramp(self, start: np.ndarray, goal: np.ndarray, until: Callable[[], bool] = lambda: False) -> list:
        """Straight from ``start`` to ``goal`` (n,) rad; waits there until ``until``, or the arm stands."""
        probe, states, ends = self._probe, [], time.monotonic() + 3.0
        for step in range(1, RAMP + 1):
            states += probe.send(probe.target(self._real(start + (goal - start) * step / RAMP)), self._probe_period())
            if until():
                return states
        while time.monotonic() < ends and not until() and np.abs(self._sim() - goal).max() > 0.1 * self._reach:
            states += probe.send(probe.target(self._real(goal)), self._probe_period() / 4)
        return states

    def _go(self, start: np.ndarray, goal: np.ndarray) -> list:
        states = self._ramp(start, goal)
        for _ in range(6):
            states += self._probe.send(self._probe.target(self._real(goal)), self._probe_period())
        return states

    def _note(self, name: str, text: str) -> None:
        self.measured.append(Measurement(name, text))


RAMP = 8
"""Control periods that a small movement takes."""


def table(findings: list[Finding], measured: list[Measurement]) -> str:
    """What passed, what failed, and how to mend it."""
    notes = {measurement.name: measurement.text for measurement in measured}
    lines = []
    for finding in findings:
        lines.append(f"{'FAILED' if finding.trouble else 'passed'}  {finding.rule}")
        if finding.name in notes:
            lines.append(f"        {notes[finding.name]}")
        if finding.trouble:
            lines += [f"        {finding.trouble}", f"        mend: {MENDS[finding.name]}"]
    failed = sum(bool(finding.trouble) for finding in findings)
    lines.append(f"{len(findings) - failed} of {len(findings)} passed")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """The command; its exit status is 1 when something failed."""
    parser = CommandParser("robot_bridge.check", __doc__)
    parser.add_argument("robot", help="robot.yaml, or the name of one that comes with the package")
    parser.add_argument(
        "--at-home", action="store_true", help="the arm stands in the pose that robot.yaml calls home: compare"
    )
    parser.add_argument("--joint", type=int, help="joint that the protocol's rules move, counted from 0 (the last)")
    parser.add_argument("--reach", type=positive_number, default=0.1, help="how far joints are moved, rad (0.1)")
    arguments = parser.parse_args(argv)
    config = read_robot(arguments.robot)
    probe = Probe.to(config, arguments.joint, arguments.reach)
    print(f"{config.name} at {config.state_address}: each joint moves by {arguments.reach:g} rad", flush=True)
    try:
        if probe.newest.fault:
            raise UserError(f"the robot reports: {probe.newest.fault}; clear that first")
        checkup = Checkup(config, probe, arguments.reach, arguments.at_home)
        findings = checkup.stand()
        if any(finding.trouble for finding in findings):
            print("the arm was not moved: mend this first", flush=True)
        else:
            findings += check_driver(probe)
            probe.watch(TARGET_TIMEOUT * 2)
            findings += checkup.move()
    finally:
        probe.close()
    print(table(findings, checkup.measured))
    return 1 if any(finding.trouble for finding in findings) else 0


if __name__ == "__main__":
    run(main)
