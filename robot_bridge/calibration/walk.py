"""Leads a person through the steps, by single key presses; every step can be repeated, left as given, or come later."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Sequence

import numpy as np

from robot_bridge.calibration.measurements import Measurements, Unclear
from robot_bridge.calibration.steps import Standing, Step
from robot_bridge.drivers.listener import StateListener
from robot_bridge.drivers.protocol import RobotState
from robot_bridge.key_presses import ENDED, KeyPresses

AVERAGED = 0.2
"""Seconds of states that are averaged where the arm is to stand."""
FEWEST = 8
"""States that are averaged at least."""
ATTEMPTS = 10
"""How often that is tried while the arm still moves."""
STILL = 0.01
"""rad that a joint which stands may drift in that time, by the noise of its encoder or of a hand."""
CLEAR = "\x1b[K"
"""Clears a terminal's line from here on."""
GLANCE = 0.05
"""Seconds between two looks at the keyboard."""


class Walk:
    """Takes ``steps`` in their order, from the first that is not done; ``keep`` hears of what each has brought.

    ``per_radian`` is of the robot's unit.
    """

    def __init__(
        self,
        listener: StateListener,
        keys: KeyPresses,
        steps: Sequence[Step],
        per_radian: float,
        keep: Callable[[Measurements], None],
    ):
        self._listener, self._keys, self._steps, self._keep = listener, keys, steps, keep
        self._drift = STILL * per_radian

    def run(self, measurements: Measurements) -> Measurements | None:
        """With what has been measured; None when the person left before the end."""
        number = next((n for n, step in enumerate(self._steps) if step.name not in measurements.done), 0)
        while number < len(self._steps):
            step = self._steps[number]
            answer = self._take(step, measurements)
            if answer is None:
                return None
            if answer is measurements:
                number = max(0, number - 1)
                continue
            measurements = answer
            self._keep(measurements)
            _say(f"  {measurements.done[step.name]}")
            number += 1
        return measurements

    def _take(self, step: Step, measurements: Measurements) -> Measurements | None:
        """What the step has brought; ``measurements`` themselves to go back, None to leave."""
        labels = [
            f"{key.capitalize() if len(key) > 1 else key}: {choice.label}" for key, choice in step.choices.items()
        ]
        _say(f"\n{step.ask(measurements)}")
        if step.name in measurements.done:
            _say(f"  so far: {measurements.done[step.name]}")
        self._begin(step, measurements)
        _say("   ".join((*labels, "r: from here", "b: back", "q: leave")))
        while True:
            heard = [step.hear(state.q) for state in self._listener.hear(GLANCE)]
            _show(heard[-1] if heard else "")
            key = (self._keys.next(0.0) or "").lower()
            if key in ("q", ENDED):
                return None
            if key == "b":
                return measurements
            if key == "r":
                self._begin(step, measurements)
            elif key in step.choices:
                try:
                    return step.choices[key].conclude(measurements, self._stand(step.hear))
                except Unclear as trouble:
                    _say(f"  {trouble}")

    def _begin(self, step: Step, measurements: Measurements) -> None:
        while True:
            try:
                standing = self._stand(lambda q: "")
            except Unclear as trouble:
                _show(str(trouble))
            else:
                step.begin(measurements, standing)
                return

    def _stand(self, hear: Callable[[np.ndarray], str]) -> Standing:
        """Where the arm stands, averaged, once it does; ``hear`` is told all of it.

        Raises:
            Unclear: it goes on moving.
        """
        for _ in range(ATTEMPTS):
            states: list[RobotState] = []
            while len(states) < FEWEST:
                states += self._listener.hear(AVERAGED)
            for state in states:
                hear(state.q)
            q = np.array([state.q for state in states])
            middle = len(q) // 2
            if np.abs(q[:middle].mean(axis=0) - q[middle:].mean(axis=0)).max(initial=0.0) < self._drift:
                return Standing(q.mean(axis=0), np.mean([state.fingers for state in states], axis=0))
        raise Unclear("the arm moves; hold it still")


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody looks any more
        print(CLEAR * sys.stdout.isatty() + text, flush=True)


def _show(text: str) -> None:
    """On a terminal, in a line that the next text takes."""
    if text and sys.stdout.isatty():
        width = shutil.get_terminal_size((120, 24)).columns - 1
        with contextlib.suppress(OSError, ValueError):
            print(f"{text[:width]}{CLEAR}\r", end="", flush=True)
