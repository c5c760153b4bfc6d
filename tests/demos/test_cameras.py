"""Where points of the arm are in the image of a fixed camera."""

import numpy as np
import pytest
import torch

from common.errors import UserError
from demos.cameras import ArmView
from demos.panda import ARM_LINES, ARM_POINTS, panda_hand_pose, panda_points

MODEL = """<mujoco><worldbody><camera name="agentview" pos="2 0 1" quat="0.5 0.5 0.5 0.5"/>
<body name="robot0_base" pos="-0.5 0 0.5"/></worldbody></mujoco>"""
"""A camera at x = 2 that looks along -x, z up."""


def view(model: object = MODEL) -> ArmView:
    return ArmView.read({"model_file": model}, "agentview", "demo_0")


def test_a_camera_sees_right_what_is_right_and_above_what_is_above() -> None:
    camera = view().camera
    points = np.array([[0, 0, 1], [0, 0.4, 1], [0, 0, 1.4], [3, 0, 1], [0, 5, 1]])
    pixels, inside = camera.project(points, 200, 100)
    np.testing.assert_allclose(pixels[0], (100, 50))
    focal = 50 / np.tan(np.deg2rad(22.5))
    np.testing.assert_allclose(pixels[1], (100 + focal * 0.2, 50))
    np.testing.assert_allclose(pixels[2], (100, 50 - focal * 0.2))
    assert inside.tolist() == [True, True, True, False, False]  # behind it, and beside the image


def test_the_arms_points_agree_with_the_hands_pose() -> None:
    rng = np.random.default_rng(0)
    joints, fingers = torch.from_numpy(rng.uniform(-1, 1, (5, 7))), torch.tensor([[0.04, -0.03]]).double().expand(5, 2)
    points, pose = panda_points(joints, fingers), panda_hand_pose(joints)
    assert points.shape == (5, len(ARM_POINTS), 3)
    torch.testing.assert_close(points[:, 7], pose[:, :3])
    torch.testing.assert_close(points[:, 8] - points[:, 7], 0.04 * pose[:, 6:])
    torch.testing.assert_close(points[:, 9] - points[:, 7], -0.03 * pose[:, 6:])
    lengths = (points[:, 1:7] - points[:, :6]).norm(dim=-1)
    torch.testing.assert_close(lengths, lengths[:1].expand_as(lengths))  # bones do not stretch
    assert max(max(line) for line in ARM_LINES) < len(ARM_POINTS)


def test_the_arm_stands_where_the_model_says() -> None:
    pixels, inside = view().arm(np.zeros((2, 7)), np.zeros((2, 2)), 128, 128)
    assert pixels.shape == (2, 10, 2)
    focal = 64 / np.tan(np.deg2rad(22.5))
    np.testing.assert_allclose(pixels[0, 0], (64, 64 + focal * 0.5 / 2.5))
    assert inside[0, 0]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (None, "keeps no readable model"),
        ("<mujoco", "keeps no readable model"),
        (MODEL.replace("agentview", "side"), "no camera agentview"),
        (MODEL.replace("robot0_base", "base"), "no body robot0_base"),
    ],
)
def test_a_model_that_does_not_say_is_refused(model: object, message: str) -> None:
    with pytest.raises(UserError, match=f"demo_0.* {message}|demo_0 {message}"):
        view(model)
