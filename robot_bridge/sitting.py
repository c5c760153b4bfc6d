"""A person and a robot that record episodes one after the other: home, count-down, episode, label, next.

Every motion, that to the home pose too, is a run of the control loop of its own, behind the same safety filter, and
begins with its soft start.
"""

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from policy.chunks import Joiner, OverlapBlend
from robot_bridge.actions import HandReference
from robot_bridge.asker import Ask, Asker
from robot_bridge.config import RobotConfig
from robot_bridge.console import StatusLine
from robot_bridge.drivers.link import RobotLink
from robot_bridge.key_presses import ENDED, KeyPresses
from robot_bridge.loop import ControlLoop
from robot_bridge.playing import chunks_of, targets_to
from robot_bridge.recorder import Label, SessionRecorder
from robot_bridge.safety import Limb

APPROACH = 0.25
"""Share of the velocity limits on the way home."""
AT_HOME = 0.05
"""rad that every joint must be within in the end."""
HOME_REPLAN = 4
INTERRUPTED = "interrupted"
"""The key that stands for Ctrl-C."""
LEAVE = (ENDED, INTERRUPTED, "q")
Outcome = Literal["success", "failure", "discarded", "unlabelled"]


@dataclass(frozen=True)
class Driver:
    """Who moves the arm in an episode: a policy or a person.

    ``asks`` are as of ``Asker``; ``press`` hears of keys that are not for the sitting, ``begin`` of each new episode.
    """

    asks: tuple[Ask, ...]
    joiner: Callable[[], Joiner]
    replan: int
    views: tuple[str, ...]
    image_size: tuple[int, int]
    keys: str = ""
    press: Callable[[str], None] = lambda key: None
    begin: Callable[[], None] = lambda: None


class Sitting:
    """Records episodes of ``task`` into ``folder`` until as many as wanted have been kept, or the person leaves.

    ``references`` makes those of the hands anew for each episode, where actions need them. ``rate`` in Hz.
    """

    def __init__(
        self,
        config: RobotConfig,
        link: RobotLink,
        limbs: Sequence[Limb],
        references: Callable[[], Sequence[HandReference]],
        driver: Driver,
        keys: KeyPresses,
        *,
        task: str,
        folder: Path,
        rate: float,
        seconds: float,
        count_down: int,
    ):
        self._config, self._link, self._limbs, self._references = config, link, limbs, references
        self._driver, self._keys, self._task, self._folder = driver, keys, task, folder
        self._rate, self._seconds, self._count_down = rate, seconds, count_down
        self._loop: ControlLoop | None = None
        self._left = False  # whether the person wants to go
        self._home = config.home if config.home is not None else self._measured()
        self.outcomes: Counter[Outcome] = Counter()

    def interrupt(self) -> None:
        """Brakes, keeps what there is, and leaves; may be called in a signal handler."""
        self._left = True
        self._keys.put(INTERRUPTED)
        if self._loop is not None:
            self._loop.quit()

    def run(self, episodes: int) -> None:
        """Until ``episodes`` have been kept, successes and failures alike."""
        while (kept := self.outcomes["success"] + self.outcomes["failure"]) < episodes and not self._left:
            self._say(f"\nepisode {kept + 1} of {episodes}: {self._task}")
            if self._go_home() and self._wait_for_the_start():
                self.outcomes[self._record()] += 1

    def _go_home(self) -> bool:
        """Whether the arm stands there, or the person goes on without."""
        while not self._left:
            self._say("to the home pose; Enter stops")
            start = self._measured()
            config = replace(self._config, mode="joint_target")
            opened = np.array([gripper.open for gripper in config.grippers])
            targets = targets_to(self._home, self._rate, start, config.safety.velocity, APPROACH, opened)
            asker = Asker(chunks_of(targets, config))
            loop = ControlLoop(
                config, self._link, self._limbs, asker, OverlapBlend(), views=(), image_size=(1, 1), rate=self._rate,
                replan=HOME_REPLAN,
            )  # fmt: skip
            self._drive(loop, asker, targets.seconds, lambda key: None)
            off = float(np.abs(self._measured() - self._home).max())
            if off <= AT_HOME:
                return True
            self._say(f"not home yet: a joint is {off:.2f} rad off.  h: try again   Enter: begin from here   q: leave")
            if self._choose("h", "enter") == "enter":
                return True
        return False

    def _wait_for_the_start(self) -> bool:
        """Counts down; whether the person is still there at its end."""
        self._say("Enter: begin   q: leave")
        if self._choose("enter") != "enter":
            return False
        for left in range(self._count_down, 0, -1):
            self._say(f"{left} ...")
            self._leaves(self._keys.next(1.0))
        return not self._left

    def _record(self) -> Outcome:
        driver = self._driver
        recorder = SessionRecorder(self._folder, self._config, self._task, driver.views, rate=self._rate, labelled=True)
        try:
            driver.begin()
            asker = Asker(*driver.asks)
            loop = ControlLoop(
                self._config, self._link, self._limbs, asker, driver.joiner(), views=driver.views,
                image_size=driver.image_size, rate=self._rate, replan=driver.replan,
                references=self._references(), recorder=recorder,
            )  # fmt: skip
            self._say(f"recording; Enter ends it   r: reset after a stop{'   ' * bool(driver.keys)}{driver.keys}")
            self._drive(loop, asker, self._seconds, driver.press)
            self._say(f"{len(loop.report.late) / self._rate:.1f} s; {loop.status()}")
            outcome, label = self._ask_for_label()
        except BaseException:  # whatever it is, what was recorded stays
            recorder.save()
            raise
        if outcome == "discarded":
            recorder.discard()
        elif (path := recorder.save(label)) is not None:
            self._say(f"{outcome}: {path}")
        return outcome

    def _ask_for_label(self) -> tuple[Outcome, Label | None]:
        self._say("s: success   f: failure   d: discard it   q: leave it unlabelled")
        key = self._choose("s", "f", "d")
        if key == "d":
            return "discarded", None
        if key is None:
            return "unlabelled", None
        return ("success" if key == "s" else "failure"), Label(key == "s", self._ask_for_note())

    def _ask_for_note(self) -> str:
        """A line; empty for none."""
        self._say("a note, or nothing; then Enter: ", end="")
        note = ""
        while (key := self._keys.next() or ENDED) not in ("enter", ENDED, INTERRUPTED):
            note = note[:-1] if key == "backspace" else note + {"space": " "}.get(key, key if len(key) == 1 else "")
            self._say(f"\r\x1b[Ka note, or nothing; then Enter: {note}", end="")
        self._left = self._left or key != "enter"
        self._say("")
        return note.strip()

    def _drive(self, loop: ControlLoop, asker: Asker, seconds: float, press: Callable[[str], None]) -> None:
        """Runs a loop for ``seconds``, or until Enter or what leaves."""

        def listen(key: str) -> None:
            if key in ("enter", ENDED, INTERRUPTED):
                self._left = self._left or key != "enter"
                loop.quit()
            elif key == "r":
                loop.reset()
            else:
                press(key)

        self._link.adopt()
        status = StatusLine(loop, sys.stdout)
        self._loop = loop
        try:
            with self._keys.during(listen):
                status.start()
                if self._left:  # since it was asked last
                    loop.quit()
                loop.run(seconds)
        finally:
            self._loop = None
            status.close()
            asker.close()
            self._keys.forget()

    def _choose(self, *keys: str) -> str | None:
        """The first of ``keys`` that is pressed; None when the person leaves."""
        while not self._left:
            key = self._keys.next()
            if key is not None and not self._leaves(key) and key.lower() in keys:
                return key.lower()
        return None

    def _leaves(self, key: str | None) -> bool:
        self._left = self._left or key in LEAVE
        return self._left

    def _measured(self) -> np.ndarray:
        """Where the joints are (n,) rad, simulator order."""
        received = self._link.state()
        assert received is not None, "wait for the link first"
        return self._config.joint_map.to_sim(received.state.q, np.zeros(len(self._config.joints)))

    def _say(self, text: str, end: str = "\n") -> None:
        with contextlib.suppress(OSError):  # nobody looks any more: the arm is the person's all the same
            print(text, end=end, flush=True)
