"""The default policy picks with the Franka driver: franky-sim is the arm, the digital shadow its objects and cameras.

Five processes: policy server, control loop, driver, franky-sim behind libfranka's network protocol, and the shadow that
follows the driver's states. FRANKA_PYTHON is as in ``test_franka``; FRANKA_STATES says how many initial states (1).
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("mink")
pytest.importorskip("robosuite")

from policy.remote import PolicyClient
from robot_bridge.config import CONFIGS
from robot_bridge.panda import HOME
from sim.libero.scene_export import write as write_scene
from tests.robot_bridge.drivers.programs import Program
from tests.robot_bridge.drivers.test_franka import PYTHON, FrankaCell

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="FRANKA_PYTHON names no Python with franky-control and franky-sim"),
]

SECONDS = 20
STATES = int(os.environ.get("FRANKA_STATES", "1"))


class PickCell(FrankaCell):
    """The arm, its driver, and the soup and the basket of LIBERO-Object's first task around it."""

    def __init__(self, folder: Path, assets: Path, state: int):
        super().__init__(folder)
        robot = yaml.safe_load(self.robot.read_text())
        robot["camera_address"] = f"ipc://{folder}/cameras"
        # The twin's limits, with which the task was learned; the template's are those for the first day.
        robot["safety"] = yaml.safe_load((CONFIGS / "twin.yaml").read_text())["safety"]
        robot["latency"] = {"arm": 0.035}
        self.robot.write_text(yaml.safe_dump(robot))
        self.policy = f"ipc://{folder}/policy"
        scene = folder / "scene.xml"
        self.task = write_scene("libero_object", 0, state, scene, assets)
        self.server = Program(sys.executable, "-m", "robot_bridge.serve", "--bind", self.policy)
        options = ("--robot", str(self.robot), "--follow", "--scene", str(scene), "--camera-rate", "10")
        self.shadow = Program(sys.executable, "-m", "robot_bridge.twin", *options)
        self.shadow.out.wait_for("^shadow:", 60)
        with PolicyClient(self.policy, timeout=60) as client:
            assert client.ping()

    def start_arm(self) -> Program:
        self.arm = Program(PYTHON, "tests/robot_bridge/drivers/franka_simulator.py", *map(str, HOME))
        self.arm.out.wait_for("ready", 60)
        return self.arm

    def work(self, seconds: float) -> dict:
        """The loop's report."""
        command = ("robot_bridge.run", "--server", self.policy, "--robot", str(self.robot), "--timeout", "0.5")
        loop = Program(sys.executable, "-m", *command, "--task", self.task.language, "--seconds", str(seconds))
        loop.popen.wait(seconds + 60)
        print(loop.err.text())
        return json.loads(next(line for _, line in loop.out.lines if line.startswith("{")))

    def objects(self) -> dict[str, np.ndarray]:
        """Ends the shadow; where things are."""
        self.shadow.popen.send_signal(signal.SIGTERM)
        self.shadow.popen.wait(30)
        objects = json.loads(self.shadow.out.text().splitlines()[-1])["objects"]
        return {name: np.array(position) for name, position in objects.items()}

    def close(self) -> None:
        self.shadow.kill()
        self.server.kill()
        super().close()


@pytest.mark.parametrize("state", range(STATES))
def test_the_default_policy_puts_the_soup_into_the_basket(tmp_path, libero_assets, state: int):
    cell = PickCell(tmp_path, libero_assets, state)
    try:
        report, objects = cell.work(SECONDS), cell.objects()
        print(report, objects)
        soup, basket = objects["alphabet_soup_1_main"], objects["basket_1_main"]
        assert np.abs(soup - basket)[:2].max() < 0.08
        assert soup[2] < 0.1
        assert not report["errors"]
    finally:
        cell.close()
