"""The twin and the control loop as processes of their own, a small policy behind a server, for tests of the whole."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from robot_bridge.config import CONFIGS
from tests.robot_bridge.policies import ConstantPolicy, until


class Said:
    """What a process writes on one of its outputs, line by line, with the time at which it came."""

    def __init__(self, stream):
        self.lines: list[tuple[float, str]] = []
        self._stream = stream
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, pattern: str, seconds: float = 30.0, since: float = 0.0) -> float:
        """When a line with ``pattern`` came."""
        found = lambda: [at for at, line in self.lines.copy() if at >= since and re.search(pattern, line)]  # noqa: E731
        try:
            until(lambda: bool(found()), seconds)
        except AssertionError:
            raise AssertionError(f"waited in vain for {pattern!r} in:\n{self.text()}") from None
        return found()[0]

    def text(self) -> str:
        """All of it, to the end when the process has ended."""
        self._reader.join(0.2)
        return "".join(line for _, line in self.lines.copy())

    def _read(self) -> None:
        for line in self._stream or ():
            self.lines.append((time.monotonic(), line))


class Process:
    """``python -m module ...`` with all three streams."""

    def __init__(self, *command: str, **options):
        bare = {name: value for name, value in os.environ.items() if name != "MUJOCO_GL"}  # which these tests have set
        pipe = subprocess.PIPE
        options = {"stdin": pipe, "stdout": pipe, "stderr": pipe, "text": True, "env": bare, **options}
        self.popen = subprocess.Popen([sys.executable, "-m", *command], **options)
        self.out, self.err = Said(self.popen.stdout), Said(self.popen.stderr)

    def type(self, line: str) -> float:
        """On its standard input; returns when."""
        self.popen.stdin.write(f"{line}\n")
        self.popen.stdin.flush()
        return time.monotonic()

    def wait(self, seconds: float = 30.0) -> int:
        """Its exit status."""
        return self.popen.wait(seconds)

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.popen.send_signal(number)
        self.popen.wait(30)

    def report(self) -> dict:
        """The last line of JSON on its standard output, when it has ended."""
        self.popen.wait(30)
        self.out._reader.join(5)
        return json.loads([line for _, line in self.out.lines if line.startswith("{")][-1])


class Bench:
    """Addresses in a folder, a ``robot.yaml`` for the twin there, and processes that are killed in the end."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.policy, self.state, self.target = (f"ipc://{folder}/{name}" for name in ("policy", "state", "target"))
        self.robot = folder / "robot.yaml"
        text = (CONFIGS / "twin.yaml").read_text()
        text = text.replace("tcp://127.0.0.1:5601", self.state).replace("tcp://127.0.0.1:5602", self.target)
        self.robot.write_text(text.replace("  hold_after:", "  state_timeout: 0.5  # of a busy machine\n  hold_after:"))
        self._processes: list[Process] = []

    def start(self, *command: str, **options) -> Process:
        self._processes.append(Process(*command, **options))
        return self._processes[-1]

    def twin(self, *options: str) -> Process:
        addresses = ("--state-address", self.state, "--target-address", self.target)
        twin = self.start("robot_bridge.twin", *addresses, "--image-size", "32", "--camera-rate", "10", *options)
        twin.out.wait_for("^twin:")
        return twin

    def loop(self, *options: str, **process_options) -> Process:
        command = ("robot_bridge.run", "--server", self.policy, "--robot", str(self.robot), *options)
        return self.start(*command, **process_options)

    def close(self) -> None:
        for process in self._processes:
            if process.popen.poll() is None:
                process.kill()


class Terminal:
    """``python -m module ...`` on a terminal of its own, where keys are pressed."""

    def __init__(self, bench: Bench, *command: str):
        self._ours, theirs = pty.openpty()
        self.process: Process = bench.start(*command, stdin=theirs)
        os.close(theirs)

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def wait_for(self, pattern: str, since: float = 0.0) -> float:
        return self.process.out.wait_for(pattern, 60, since)

    def end(self) -> int:
        """Its exit status."""
        status = self.process.wait(60)
        os.close(self._ours)
        return status


class MovingPolicy(ConstantPolicy):
    """``velocity(seconds)`` is the hand's translation (3,) in [-1, 1], the same for all of a chunk."""

    def __init__(self, velocity: Callable[[float], tuple[float, float, float]]):
        super().__init__()
        self._velocity, self._began = velocity, time.monotonic()

    def act(self, images: np.ndarray, proprio: np.ndarray, text: list[str]) -> np.ndarray:
        actions = np.zeros((len(images), 16, 7), np.float32)
        actions[..., :3] = self._velocity(time.monotonic() - self._began)
        return actions


def sideways(seconds: float) -> tuple[float, float, float]:
    """To the left and to the right, 2 s each."""
    return 0.0, 0.6 if seconds % 4 < 2 else -0.6, 0.0
