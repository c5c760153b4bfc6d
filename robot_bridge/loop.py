"""The control loop on the robot's PC: a fixed rate on the monotonic clock, and never a wait for the network.

One thread keeps the beat (``ControlLoop.run``); another asks the policy (``Asker``); the robot's state and images come
in a third (``drivers.link``). They meet in single values that are replaced, so none can hold another up.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from common.conventions import CONTROL_FREQUENCY
from common.errors import UserError
from policy.chunks import Joiner, Planned
from robot_bridge.actions import ActionReader, HandReference, openings
from robot_bridge.asker import Answer, Asker, Observation
from robot_bridge.config import RobotConfig
from robot_bridge.drivers.link import Picture, Received, RobotLink
from robot_bridge.drivers.protocol import RobotState
from robot_bridge.drivers.reception import TARGET_TIMEOUT
from robot_bridge.following import FollowingMonitor
from robot_bridge.latency import following_delay
from robot_bridge.report import Report
from robot_bridge.resize import resize
from robot_bridge.rotations import rotation_vector
from robot_bridge.safety import Command, Limb, Mode, SafetyFilter

FIRST_RECEIPT = 2.0
"""Seconds within which the robot must have taken a first target."""

DELAYS = 5
"""Answers, the latest of which says how late the next is expected (real-time chunking)."""

LOGGED = {mode.value for mode in Mode} | {"request_failed", "driver_restarted"}

log = logging.getLogger("robot_bridge.loop")


class RobotOccupied(UserError):
    """Another loop drives the robot."""


@dataclass(frozen=True)
class Tick:
    """Everything about one control period, for the recorder. Times are monotonic seconds."""

    at: float
    late: float
    observation: Observation
    action: np.ndarray | None
    command: Command
    openings: np.ndarray
    measured: np.ndarray
    age: float = math.nan
    """Seconds from the exposure of the images behind the action until it was sent; NaN when none was followed."""
    pictures: tuple[np.ndarray, ...] = ()
    """The images of the observation (h, w, 3) as the cameras sent them."""


class Recorder(Protocol):
    """Hears of everything; must return at once."""

    @property
    def failure(self) -> str:
        """Why it has ended before the run did; empty while it goes on."""
        ...

    def tick(self, tick: Tick) -> None: ...

    def answer(self, answer: Answer) -> None: ...

    def event(self, at: float, kind: str, text: str) -> None: ...


class ControlLoop:
    """Runs one robot. ``stop``, ``reset`` and ``quit`` are for a person and may be called from any thread.

    ``replan`` is after how many ticks of a chunk the next one is asked for; ``views`` and ``image_size`` are the
    policy's; without views it is asked about the robot's state alone.
    Mode ``osc_delta`` needs a reference for each of the ``limbs``. With ``send`` False nothing reaches the robot
    (``--dry-run``).
    """

    def __init__(
        self,
        config: RobotConfig,
        link: RobotLink,
        limbs: Sequence[Limb],
        asker: Asker,
        joiner: Joiner,
        *,
        views: tuple[str, ...],
        image_size: tuple[int, int],
        rate: float = CONTROL_FREQUENCY,
        replan: int = 4,
        references: Sequence[HandReference] = (),
        send: bool = True,
        recorder: Recorder | None = None,
    ):
        self._config, self._link, self._limbs, self._asker, self._joiner = config, link, limbs, asker, joiner
        self._views, self._image_size = views, image_size
        self._dt, self._replan, self._send, self._recorder = 1 / rate, replan, send, recorder
        self.report = Report()
        self._orders: list[str | None] = []  # reasons to stop; None: a reset
        self._taken = False  # whether the robot has taken a target
        self._restarted = False  # whether its driver has been started anew
        self._quit = threading.Event()
        received = link.state()
        assert received is not None, "wait for the link first"
        self._reference = np.zeros(len(config.joints))
        q = config.joint_map.to_sim(received.state.q, self._reference)
        self._reference = q  # joints that the robot does not have stay where they are
        self.safety = SafetyFilter(config.safety, config.joint_map, self._dt, q, limbs, self._note, received.state.q)
        lag = self._dt + config.latency.arm  # a target is where to be one control period from now
        self._following = FollowingMonitor(config.safety.following, self.safety.watchdog, config.joints, lag, self._dt)
        self._following.restart(received.at, q)
        self._actions = ActionReader(config, limbs, references)
        self._width = self._actions.width
        self._openings = openings(config.grippers, received.state.fingers)
        self._asked = -replan
        self._reset_at = 0.0
        self._exposed: dict[int, float] = {}  # when the images of a chunk's tick were taken
        self._newest = -math.inf  # the tick of the newest chunk
        self._delays: deque[int] = deque(maxlen=DELAYS)
        self._age = np.nan
        self._path: deque[tuple[float, np.ndarray, np.ndarray]] = deque(maxlen=10_000)  # when, commanded, measured
        self._started = time.monotonic()

    def stop(self, reason: str = "the operator's key") -> None:
        """A latched stop at the next tick."""
        self._orders.append(reason)

    def reset(self) -> None:
        """Ends a latched stop, from where the arm is now."""
        self._orders.append(None)

    def quit(self) -> None:
        """Ends ``run`` once the arm stands."""
        self._quit.set()

    def status(self) -> str:
        """How it goes, in a line."""
        watchdog, age = self.safety.watchdog, self._age
        mode = watchdog.mode.value if watchdog.mode is Mode.RUNNING else f"{watchdog.mode.value}: {watchdog.reason}"
        counts = ", ".join(f"{kind} {count}" for kind, count in self.safety.interventions.most_common())
        aged = f"action {age * 1e3:.0f} ms old  " if watchdog.mode is Mode.RUNNING and np.isfinite(age) else ""
        lost = "  NOT RECORDED" if self._recorder is not None and self._recorder.failure else ""
        return f"{mode}  {aged}interventions: {counts or 'none'}{lost}"

    def run(self, seconds: float | None = None) -> Report:
        """Beats until ``quit``, or for ``seconds``; then brakes."""
        self._started = started = time.monotonic()
        index = 0
        try:
            while not self._quit.is_set() and (seconds is None or index * self._dt < seconds):
                late = self._sleep_until(started + index * self._dt)
                self._beat(index, time.monotonic(), late)
                self.report.late.append(late)
                index += 1
                missed = int((time.monotonic() - started) / self._dt) - index
                if missed > 0:  # skip what has passed rather than send targets in a burst
                    self.report.skipped += missed
                    index += missed
        finally:
            if not self._link.occupied:  # else nobody would listen
                self._brake()
            self._conclude()
        return self.report

    def _conclude(self) -> None:
        """What the report says of the run as a whole."""
        self.report.interventions = dict(self.safety.interventions)
        self.report.following = self._following.largest
        if self._path:
            delay = following_delay(*(np.array(column) for column in zip(*self._path, strict=True)))
            self.report.arm_latency = None if delay is None else max(0.0, delay - self._dt)

    def _sleep_until(self, due: float) -> float:
        """Returns how late (s) it got."""
        ahead = due - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        return max(0.0, time.monotonic() - due)

    def _beat(self, index: int, now: float, late: float) -> None:
        config = self._config
        self._obey()
        state, measured = self._watch(now)
        for answer in self._asker.take():
            self._take(answer, index, now)
        pictures = self._pictures()
        images = np.zeros((len(pictures), *self._image_size, 3), np.uint8)
        for image, picture in zip(images, pictures, strict=True):
            image[:] = resize(picture.pixels, self._image_size)
        taken = min((picture.at for picture in pictures), default=now)
        if now - taken > config.safety.camera_timeout:
            self._note("images_lost", f"the oldest image is {now - taken:.3f} s old; the policy is not asked")
        elif self._due(index) and self._asker.want(self._seen(images, taken - config.latency.camera)):
            self._asked = index
            self.report.requests += 1
        action = self._action(index, now)
        wish = None if action is None else self._actions.wish(action, self.safety.q, self._reference)
        command = self.safety.command(wish, now)
        if command.mode is not Mode.RUNNING:
            self._actions.rest()
            if command.mode is Mode.STOPPED:
                self._joiner.clear()
        elif action is not None:
            self._openings = self._actions.openings(action, self._openings)
        if self._send:
            self._link.target(command.q_real, self._openings, command.mode is Mode.STOPPED)
            self._following.commanded(now, command.q_sim)
        if command.mode is Mode.RUNNING and action is not None:
            self._age += time.monotonic() - now  # what the tick took
            self.report.ages.append(self._age)
        else:
            self._age = np.nan
        self._path.append((now, command.q_sim, measured))
        if self._recorder is not None:
            shown = tuple(picture.pixels for picture in pictures)
            present = Observation(index, now, images, measured, state.fingers, self._hands(measured))
            self._recorder.tick(Tick(now, late, present, action, command, self._openings, measured, self._age, shown))

    def _seen(self, images: np.ndarray, taken: float) -> Observation:
        """What the policy is asked about: images and the joints at the time the images were taken.

        The arm was then where the commands had been a while before, so what comes next in the policy's eyes are
        actions that lie back by both.
        """
        received = self._link.state_at(taken)
        assert received is not None
        q = self._config.joint_map.to_sim(received.state.q, self._reference)
        tick = round((taken - self._config.latency.arm - self._started) / self._dt)
        plan = self._joiner.plan(tick, max(self._delays, default=0))
        return Observation(tick, taken, images, q, received.state.fingers, self._hands(q), plan)

    def _hands(self, q: np.ndarray) -> np.ndarray:
        """Position (m) and axis-angle (rad) of each arm's end effector (a, 6), in its base's frame."""
        poses = [limb.body.pose(q[limb.joints]) for limb in self._limbs]
        return np.stack([np.concatenate([position, rotation_vector(rotation)]) for position, rotation in poses])

    def _obey(self) -> None:
        while self._orders:
            reason = self._orders[0]
            if reason is not None:
                self.safety.watchdog.stop(reason)
            elif self.safety.watchdog.mode is Mode.STOPPED:
                if not self.safety.at_rest:
                    return  # a reset waits until the arm stands
                self._link.adopt()
                self._taken = False
                received, measured = self._measured()
                self._joiner.clear()
                self._asked = -self._replan
                self._reset_at = time.monotonic()
                self.safety.reset(measured, received.state.q)
                self._following.restart(time.monotonic(), measured)
            self._orders.pop(0)

    def _measured(self) -> tuple[Received, np.ndarray]:
        """The newest state, and its joints (n,) rad in simulator order."""
        received = self._link.state()
        assert received is not None
        return received, self._config.joint_map.to_sim(received.state.q, self._reference)

    def _watch(self, now: float) -> tuple[RobotState, np.ndarray]:
        """The robot's state and joints; stops when something is wrong with them, or with the way there and back."""
        received, measured = self._measured()
        state, watchdog = received.state, self.safety.watchdog
        if self._link.restarted and not self._restarted:
            watchdog.stop("the robot's driver was started anew")
            self._note("driver_restarted", "the robot's driver was started anew; a reset goes on with it")
        self._restarted = self._link.restarted
        if received.delay > self._config.safety.state_timeout:
            watchdog.stop(f"the robot's states come {received.delay:.2f} s late")
        speed = self._config.joint_map.velocity_to_sim(state.dq)
        self.safety.check_robot(measured, speed, now - received.at, state.fault)
        if not self._send:
            return state, measured
        if self._link.occupied:
            raise RobotOccupied(f"another loop (session {state.session}) drives the robot; end that one first")
        self._taken = self._taken or self._link.received
        silent = self._link.unreceived()
        if silent > (TARGET_TIMEOUT if self._taken else FIRST_RECEIPT):
            watchdog.stop(f"the robot has not taken a target for {silent:.2f} s")
        self._following.check(measured, received.at)
        return state, measured

    def _take(self, answer: Answer, index: int, now: float) -> None:
        if self._recorder is not None:
            self._recorder.answer(answer)
        if answer.chunk is None:
            self.report.errors += 1
            self._note("request_failed", answer.error)
            return
        if answer.observation.at < self._reset_at:  # what the policy saw before is not what a person looked at
            return
        if answer.observation.tick <= self._newest:  # overtaken by the answer to a later request
            return
        chunk = answer.chunk
        if chunk.ndim != 2 or not len(chunk):
            self.safety.check_action(chunk, self._width, now, now)  # stops, and says why
        elif self.safety.watchdog.mode is not Mode.STOPPED and self._all_sound(chunk, answer.observation.at, now):
            self._newest = answer.observation.tick
            self._delays.append(max(0, index - answer.observation.tick))
            self._exposed[answer.observation.tick] = answer.observation.at
            self._joiner.add(chunk, answer.observation.tick)
            self.safety.watchdog.fresh(now)

    def _all_sound(self, chunk: np.ndarray, observed_at: float, now: float) -> bool:
        """A chunk with one bad row is not trusted in any."""
        return all(self.safety.check_action(row, self._width, observed_at, now) for row in chunk)

    def _action(self, index: int, now: float) -> np.ndarray | None:
        planned = self._joiner.at(index)
        self._age = np.nan
        if planned is None or self.safety.watchdog.mode is Mode.STOPPED:
            return None
        self._exposed = {tick: at for tick, at in self._exposed.items() if tick >= planned.observed}
        exposed = self._exposed[planned.observed]
        if not self.safety.check_action(planned.action, self._width, exposed, now):
            return None
        self._age = now - exposed
        self._measure(planned)
        return planned.action

    def _measure(self, planned: Planned) -> None:
        """Puts into the report by how many degrees a new chunk changes this tick's step."""
        moved = None if planned.change is None else self._actions.joint_step(planned.change)
        if moved is not None:
            self.report.jumps.append(float(np.rad2deg(np.abs(moved).max())))

    def _due(self, index: int) -> bool:
        if self.safety.watchdog.mode is Mode.STOPPED:  # nobody would follow
            return False
        if index - self._asked >= self._replan or self._asker.overdue:
            return True
        return self._joiner.left(index) == 0 and self._asker.idle

    def _pictures(self) -> list[Picture]:
        """The newest image of each view."""
        images = self._link.images()
        return [images[self._config.cameras.get(view, view)] for view in self._views]

    def _brake(self) -> None:
        """Ends every run with the arm standing."""
        for reason in (*self._orders, "the loop ends"):
            if reason is not None:
                self.safety.watchdog.stop(reason)
        started = time.monotonic()
        for step in range(int(5 / self._dt)):
            self._sleep_until(started + step * self._dt)
            before = self.safety.q
            command = self.safety.command(None, time.monotonic())
            if self._send:
                self._link.target(command.q_real, self._openings, True)
            if np.array_equal(before, command.q_sim):
                return

    def _note(self, kind: str, text: str) -> None:
        now = time.monotonic()
        if kind in LOGGED:
            self.report.events.append((now, kind, text))
            log.warning("%s: %s", kind, text)
        if self._recorder is not None:
            self._recorder.event(now, kind, text)
