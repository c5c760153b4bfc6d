"""How far a body is from where it was, in millimetres and degrees."""

import torch
from torch import Tensor

from tokenizer.body.features import BodyTensors, body_of


def pose_errors(rebuilt: Tensor, truth: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Features (b, t, d), which frames count (b, t) -> means over them:

    ``mpjpe_mm`` of joints in the world, ``local_mpjpe_mm`` with the head where it was, ``head_mm`` of the head,
    ``joint_velocity_mm`` of joints' movement a frame, ``head_deg`` and ``joint_deg`` of rotations.
    """
    ours, theirs = body_of(rebuilt), body_of(truth)
    counted = valid.bool()

    def mean(distance: Tensor) -> Tensor:
        return distance[counted].mean()

    joints = ours.joint_positions - theirs.joint_positions
    local = _in_head(ours) - _in_head(theirs)
    moved = joints.diff(dim=1)
    both = counted[:, 1:] & counted[:, :-1]
    return {
        "mpjpe_mm": 1e3 * mean(joints.norm(dim=-1)),
        "local_mpjpe_mm": 1e3 * mean(local.norm(dim=-1)),
        "head_mm": 1e3 * mean((ours.head_position - theirs.head_position).norm(dim=-1)),
        "joint_velocity_mm": 1e3 * moved.norm(dim=-1)[both].mean(),
        "head_deg": mean(_angle(ours.head_rotation, theirs.head_rotation)),
        "joint_deg": mean(_angle(ours.joint_rotations, theirs.joint_rotations)),
    }


def _in_head(body: BodyTensors) -> Tensor:
    return (body.joint_positions - body.head_position.unsqueeze(-2)) @ body.head_rotation


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """Between rotations (..., 3, 3), in degrees."""
    cosine = ((a * b).sum((-1, -2)) - 1) / 2
    return torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))
