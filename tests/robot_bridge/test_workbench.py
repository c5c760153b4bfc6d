"""Policy server, twin and loop as three processes on one machine: the default bundle does a LIBERO task.

``TWIN_SECONDS`` shortens the long one (60).
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mink")
pytest.importorskip("robosuite")

from demos.hdf5 import DemoReader
from policy.remote import PolicyClient
from robot_bridge.config import CONFIGS
from robot_bridge.twin_scene import load_scene
from sim.libero.scene_export import write as write_scene
from tests.robot_bridge.policies import until

pytestmark = pytest.mark.slow


class Workbench:
    """The soup, the basket and the three processes; what the loop says, with the time at which it said it."""

    def __init__(self, folder: Path, assets: Path):
        self.folder, self.scene = folder, folder / "scene.xml"
        self.task = write_scene("libero_object", 0, 0, self.scene, assets)
        self._policy, state, target = (f"ipc://{folder}/{name}" for name in ("policy", "state", "target"))
        self._robot = folder / "robot.yaml"
        text = (CONFIGS / "twin.yaml").read_text()
        self._robot.write_text(text.replace("tcp://127.0.0.1:5601", state).replace("tcp://127.0.0.1:5602", target))
        self._processes: list[subprocess.Popen] = []
        self.server = self.start_server()
        self.twin = self._start(
            *("robot_bridge.twin", "--state-address", state, "--target-address", target),
            *("--scene", str(self.scene), "--camera-rate", "10"),
            stdin=subprocess.PIPE,
        )
        assert self.twin.stdout.readline().startswith("twin:")
        self._events: list[tuple[float, str]] = []

    def start_server(self) -> subprocess.Popen:
        """With the default bundle; ready."""
        process = self._start("robot_bridge.serve", "--bind", self._policy)
        with PolicyClient(self._policy, timeout=60) as client:
            assert client.ping()
        return process

    def start_loop(self, *options: str) -> None:
        command = ("robot_bridge.run", "--server", self._policy, "--robot", str(self._robot), "--timeout", "0.5")
        self.loop = self._start(
            *command, "--task", self.task.language, *options, stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _start(self, *module: str, **options) -> subprocess.Popen:
        bare = {name: value for name, value in os.environ.items() if name != "MUJOCO_GL"}  # which these tests have set
        command = [sys.executable, "-m", *module]
        self._processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=bare, **options))
        return self._processes[-1]

    def _listen(self) -> None:
        for line in self.loop.stderr:
            self._events.append((time.monotonic(), line))

    def wait_for(self, pattern: str, seconds: float, since: float = 0.0) -> float:
        """When the loop said so."""
        until(lambda: any(at >= since and re.search(pattern, line) for at, line in self._events), seconds)
        return next(at for at, line in self._events if at >= since and re.search(pattern, line))

    def run_for(self, seconds: float) -> None:
        """Lets the loop run, as an operator does: the policy goes on when it is done, and leans on the basket until
        the following monitor stops the arm; the operator resets it. Any other stop fails."""
        ends, since = time.monotonic() + seconds, 0.0
        while time.monotonic() < ends:
            time.sleep(0.1)
            for at, line in [(at, line) for at, line in self._events if at > since and "stopped: " in line]:
                assert "from where it should be" in line
                since = at
                self.wait_for("running: ", 5, since=self.key("r"))

    def key(self, letter: str) -> float:
        """The operator's; when it was pressed."""
        self.loop.stdin.write(f"{letter}\n")
        self.loop.stdin.flush()
        return time.monotonic()

    def report(self) -> dict:
        """What the loop says in the end."""
        self.loop.wait(30)
        return json.loads(next(line for line in self.loop.stdout if line.startswith("{")))

    def objects(self) -> dict[str, np.ndarray]:
        """Ends the twin; where things are."""
        self.twin.send_signal(signal.SIGTERM)
        objects = json.loads(next(line for line in self.twin.stdout if line.startswith("{")))["objects"]
        return {name: np.array(position) for name, position in objects.items()}

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture
def bench(tmp_path, libero_assets):
    bench = Workbench(tmp_path, libero_assets)
    yield bench
    bench.close()


def test_the_default_bundle_puts_the_soup_into_the_basket_by_way_of_three_processes(bench):
    bench.start_loop("--seconds", "16")
    report, objects = bench.report(), bench.objects()
    print(report, objects)
    soup, basket = objects["alphabet_soup_1_main"], objects["basket_1_main"]
    assert np.abs(soup - basket)[:2].max() < 0.08
    assert soup[2] < 0.1
    assert not report["errors"]


def test_three_processes_run_for_a_minute_and_the_server_is_killed_and_comes_back(bench):
    bench.start_loop("--record", str(bench.folder / "record"))
    bench.wait_for("running: ", 60)
    bench.run_for(float(os.environ.get("TWIN_SECONDS", "60")))
    bench.server.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    held = bench.wait_for("holding: ", 5, killed) - killed
    stopped = bench.wait_for("stopped: ", 10, killed) - killed
    bench.start_server()
    bench.wait_for("running: ", 20, since=bench.key("r"))
    bench.key("q")
    report = bench.report()
    (record,) = (bench.folder / "record").iterdir()
    with DemoReader(record) as reader:
        hand = reader[0].ee_pos
    scene = load_scene(bench.scene)
    soup = scene.start["alphabet_soup_1_joint0"][:3] - scene.model.body("robot_base").pos
    nearest = np.linalg.norm(hand - soup, axis=1).min()
    print(f"held after {held:.3f} s, stopped after {stopped:.3f} s, hand to soup {nearest:.3f} m, {report}")
    assert nearest < 0.05
    assert held < 0.5 + 0.1
    assert stopped < 2.0 + 0.1
    assert report["late_over_10_ms"] < 0.01
