r"""Motion of a body as its head sees it: 294 numbers a frame for 23 joints, and back.

The head-centric representation of the Motion VAE (EgoTwin). World arrays are in metres, right-handed; rotations are
matrices whose columns are axes in the world. With head pose (R, h), joints' positions p and rotations Q:

    head rotation        6(R_t)                    0:6
    its change           6(R_{t-1}^T R_t)          6:12
    head position        h_t                       12:15
    its change           h_t - h_{t-1}             15:18
    joints               R_t^T (p_t - h_t)         3 a joint, in the head's frame
    their change         of those coordinates      3 a joint, a frame
    joints' rotations    6(Q_t)                    6 a joint, in the world's frame

6(M) are the first two columns of M, one after the other. Changes are per frame; at the first frame they are zero, the
rotation's the identity.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

HEAD = 18
"""Numbers of the head."""


def feature_width(joints: int) -> int:
    """Numbers a frame."""
    return HEAD + 12 * joints


def groups(joints: int) -> dict[str, slice]:
    """The columns of the four groups that the loss weighs alike."""
    return {
        "head_6D": slice(0, 12),
        "head_3D": slice(12, HEAD),
        "joint_3D": slice(HEAD, HEAD + 6 * joints),
        "joint_6D": slice(HEAD + 6 * joints, HEAD + 12 * joints),
    }


@dataclass(frozen=True, eq=False)
class BodyTensors:
    """Head pose (..., t, 3), (..., t, 3, 3) and joints' positions (..., t, j, 3) and rotations (..., t, j, 3, 3)."""

    head_position: Tensor
    head_rotation: Tensor
    joint_positions: Tensor
    joint_rotations: Tensor


def six_of(rotation: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 6): the first two columns, one after the other."""
    return rotation[..., :2].transpose(-1, -2).flatten(-2)


def rotation_of(six: Tensor) -> Tensor:
    """(..., 6) -> (..., 3, 3): the rotation nearest to two columns in Gram and Schmidt's sense (Zhou et al., 2019).

    Columns need not be of length one or orthogonal; zeros become the zero matrix.
    """
    first, second = six[..., :3], six[..., 3:]
    b1 = first / first.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    rest = second - (b1 * second).sum(-1, keepdim=True) * b1
    b2 = rest / rest.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return torch.stack([b1, b2, torch.linalg.cross(b1, b2, dim=-1)], dim=-1)


def features_of(body: BodyTensors) -> Tensor:
    """-> (..., t, 18 + 12 j)."""
    rotation, position = body.head_rotation, body.head_position
    turned = torch.eye(3, dtype=rotation.dtype, device=rotation.device).expand_as(rotation).clone()
    turned[..., 1:, :, :] = rotation[..., :-1, :, :].transpose(-1, -2) @ rotation[..., 1:, :, :]
    joints = (body.joint_positions - position.unsqueeze(-2)) @ rotation  # rows: R^T (p - h)
    parts = [
        six_of(rotation),
        six_of(turned),
        position,
        _change(position, -2),
        joints.flatten(-2),
        _change(joints, -3).flatten(-2),
        six_of(body.joint_rotations).flatten(-2),
    ]
    return torch.cat(parts, dim=-1)


def body_of(features: Tensor) -> BodyTensors:
    """The exact inverse, (..., t, 18 + 12 j) -> poses in the world; of what a decoder gives, the nearest body.

    The changes are not looked at: they follow from the rest.
    """
    joints = (features.shape[-1] - HEAD) // 12
    rotation, position = rotation_of(features[..., :6]), features[..., 12:15]
    in_head = features[..., HEAD : HEAD + 3 * joints].unflatten(-1, (joints, 3))
    six = features[..., HEAD + 6 * joints :].unflatten(-1, (joints, 6))
    return BodyTensors(
        position, rotation, in_head @ rotation.transpose(-1, -2) + position.unsqueeze(-2), rotation_of(six)
    )


def _change(x: Tensor, dim: int) -> Tensor:
    """Differences along ``dim``, zero at its start."""
    first = torch.zeros_like(x.narrow(dim, 0, 1))
    return torch.cat([first, x.diff(dim=dim)], dim=dim)
