"""The digital shadow beside another robot, which is a twin here, over their real sockets."""

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("mink")
pytest.importorskip("robosuite")

from common.errors import UserError
from robot_bridge.config import RobotConfig, read_robot
from robot_bridge.drivers.link import RobotLink
from robot_bridge.panda import HOME
from robot_bridge.shadow import Shadow
from robot_bridge.twin import Twin, main
from tests.robot_bridge.policies import until

PEDESTAL = """
<mujoco>
  <worldbody>
    <light pos="1 1 3"/>
    <camera name="agentview" pos="1.3 0 0.7" quat="0.638 0.305 0.305 0.638"/>
    <body name="robot_base"/>
    <geom type="box" size="0.05 0.02 0.11" pos="0.4515 0 0.11"/>
    <body name="cube" pos="0.4515 0 0.245"><freejoint/><geom type="box" size="0.02 0.02 0.025" mass="0.1"/></body>
  </worldbody>
</mujoco>
"""


@pytest.fixture
def config(tmp_path) -> RobotConfig:
    addresses = {name: f"ipc://{tmp_path}/{name}" for name in ("state_address", "target_address", "camera_address")}
    return dataclasses.replace(read_robot("twin"), **addresses)


@pytest.fixture
def arm(config: RobotConfig) -> Iterator[Twin]:
    """Without cameras, and without anything in reach."""
    twin = Twin(config.state_address, config.target_address, camera_rate=0)
    thread = threading.Thread(target=twin.run)
    thread.start()
    yield twin
    twin.stop()
    thread.join(20)


@pytest.fixture
def shadow(tmp_path: Path, config: RobotConfig, arm: Twin) -> Iterator[Shadow]:
    scene = tmp_path / "scene.xml"
    scene.write_text(PEDESTAL)
    shadow = Shadow(config, 32, 10, str(scene))
    thread = threading.Thread(target=shadow.run)
    thread.start()
    yield shadow
    shadow.stop()
    thread.join(20)


@pytest.fixture
def link(config: RobotConfig, shadow: Shadow) -> Iterator[RobotLink]:
    """The control loop's."""
    link = RobotLink.to(config)
    link.wait((), 20)
    yield link
    link.close()


def test_it_goes_where_the_arm_goes_and_closes_the_fingers_as_it_does(config, arm, shadow, link):
    goal = np.array(HOME) + 0.1

    def there() -> bool:
        link.target(config.joint_map.to_real(goal), np.array([0.01]), False)
        return np.abs(shadow.world.q - goal).max() < 0.005

    until(there, 20)
    np.testing.assert_allclose(shadow.world.q, arm.world.q, atol=0.01)
    until(lambda: there() and np.abs(shadow.world.fingers - [0.01, -0.01]).max() < 0.003, 20)


def test_what_the_arm_s_fingers_close_on_is_lifted(config, shadow, link):
    before = shadow.world.objects()["cube"][2]

    def closed_at(q: np.ndarray) -> None:
        link.target(config.joint_map.to_real(q), np.array([0.0]), False)

    until(lambda: closed_at(np.array(HOME)) or shadow.world.fingers[0] < 0.025, 20)
    up = np.array(HOME) - [0, 0.2, 0, 0, 0, 0.2, 0]
    until(lambda: closed_at(up) or shadow.world.objects()["cube"][2] > before + 0.05, 20)
    assert shadow.world.fingers[0] > 0.015  # closed around it, although the arm's own fingers met nothing
    assert link.state().state.fingers[0] < 0.01


def test_the_loop_gets_its_images(shadow, link):
    link.wait(("agentview", "eye_in_hand"), 20)
    image = link.images()["agentview"].pixels
    assert image.shape == (32, 32, 3)
    assert np.ptp(image) > 50


@pytest.mark.parametrize("option", [("--fault", "noise 0.1"), ("--state-address", "tcp://127.0.0.1:5699")])
def test_what_a_robot_of_its_own_would_do_is_not_for_one_that_follows(option: tuple[str, str]):
    with pytest.raises(UserError, match=f"{option[0]} is not for --follow"):
        main(["--robot", "franka", "--follow", *option])


def test_a_robot_yaml_without_an_address_for_images_is_refused(config):
    with pytest.raises(UserError, match="twin has no camera_address"):
        Shadow(dataclasses.replace(config, camera_address=None))
