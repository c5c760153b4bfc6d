"""Where arm and hand are, from joint angles: forward kinematics of the Franka Emika Panda, LIBERO's arm.

Frames follow the modified Denavit-Hartenberg convention (Craig), with the parameters of Franka's documentation.
"""

from math import cos, pi, sin

import torch
from torch import Tensor

POSE_DIM = 9
"""of ``panda_hand_pose``: position and the first two columns of the rotation"""

_LINKS = (  # a (m), d (m), alpha (rad) of each joint
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -pi / 2),
    (0.0, 0.316, pi / 2),
    (0.0825, 0.0, pi / 2),
    (-0.0825, 0.384, -pi / 2),
    (0.0, 0.0, pi / 2),
    (0.088, 0.0, pi / 2),
)
_FLANGE, _GRIP = 0.107, 0.107 + 0.097
"""metres along the last axis: to the flange, and to the point between the fingertips"""
_HAND_TURN = -pi / 4
"""of the hand about the flange's axis"""

ARM_POINTS = ("base", "shoulder", "upper arm", "elbow", "wrist", "joint 7", "flange", "grip", "finger 1", "finger 2")
"""What ``panda_points`` gives, in this order."""
ARM_LINES = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 8), (6, 9))
"""Which of them are joined, for drawing."""


def panda_hand_pose(joints: Tensor) -> Tensor:
    """Joint angles (..., 7) in radians -> pose (..., 9) of the point between the fingertips, in the robot's base frame.

    Position (x, y, z) in metres, then the x and the y axis of the hand, which together give its rotation without
    jumps (Zhou et al., On the Continuity of Rotation Representations, 2019).
    """
    with torch.autocast(joints.device.type, enabled=False):  # half precision would cost centimetres
        origins, rotation = _joint_frames(joints)
        position = origins[..., -1, :] + _GRIP * rotation[..., 2]
        axes = rotation @ _hand_axes(joints)  # (..., 3, 2)
        return torch.cat([position, axes.transpose(-1, -2).flatten(-2)], -1)


def panda_points(joints: Tensor, fingers: Tensor) -> Tensor:
    """Joint angles (..., 7) in radians and finger positions (..., 2) in metres -> ``ARM_POINTS`` (..., 10, 3) in
    metres, in the robot's base frame. Joints that turn about the same place are one point."""
    origins, rotation = _joint_frames(joints)
    last, along = origins[..., -1, :], rotation[..., 2]
    grip = last + _GRIP * along
    across = (rotation @ _hand_axes(joints))[..., 1]
    tips = grip[..., None, :] + fingers[..., :, None] * across[..., None, :]
    base = torch.zeros_like(last)
    arm = [base, *(origins[..., joint, :] for joint in (0, 2, 3, 5, 6)), last + _FLANGE * along, grip]
    return torch.cat([torch.stack(arm, -2), tips], -2)


def _joint_frames(joints: Tensor) -> tuple[Tensor, Tensor]:
    """Where each of the seven joints is (..., 7, 3), and the rotation (..., 3, 3) behind the last."""
    rotation = torch.eye(3, dtype=joints.dtype, device=joints.device).expand(*joints.shape[:-1], 3, 3)
    position, origins = torch.zeros_like(joints[..., :3]), []
    for joint, (a, d, alpha) in enumerate(_LINKS):
        offset = joints.new_tensor([a, -d * sin(alpha), d * cos(alpha)])
        position = position + rotation @ offset
        rotation = rotation @ _turn(joints[..., joint], alpha)
        origins.append(position)
    return torch.stack(origins, -2), rotation


def _hand_axes(joints: Tensor) -> Tensor:
    """(3, 2) the x and the y axis of the hand in the frame of the last joint."""
    return joints.new_tensor([[cos(_HAND_TURN), -sin(_HAND_TURN)], [sin(_HAND_TURN), cos(_HAND_TURN)], [0.0, 0.0]])


def _turn(theta: Tensor, alpha: float) -> Tensor:
    """Rotation (..., 3, 3) by ``alpha`` about x, then by ``theta`` (...) about the new z."""
    c, s, zero = theta.cos(), theta.sin(), torch.zeros_like(theta)
    ca, sa = cos(alpha), sin(alpha)
    rows = [c, -s, zero, s * ca, c * ca, zero - sa, s * sa, c * sa, zero + ca]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))
