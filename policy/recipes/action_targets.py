"""What inverse dynamics is to predict, and by how much it misses that: actions and waypoints."""

import numpy as np
import torch
from torch import Tensor

from demos.dataset import FrameDataset
from demos.panda import panda_hand_pose
from policy.waypoints import displacements, next_changes


def pad_actions(actions: np.ndarray, mask: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray]:
    """What to aim at past the end of an episode: actions (b, t, 7), and which of them count (b, t).

    ``how`` is zero (as ``actions`` are), repeat (the last action) or mask (nothing).
    """
    if how == "mask":
        return actions, mask
    if how == "repeat":
        last = np.maximum(mask.sum(1) - 1, 0)
        actions = np.where(mask[..., None], actions, actions[np.arange(len(actions)), last][:, None])
    return actions, np.ones_like(mask)


def waypoint_targets(frames: FrameDataset, count: int) -> Tensor:
    """The displacements (frames, count, 9) from the hand to its next waypoints."""
    episode = frames.episode_of(np.arange(len(frames)))
    waypoints = next_changes(frames.actions[:, -1] > 0, episode, count)
    poses = panda_hand_pose(torch.from_numpy(frames.proprio[:, :7]))
    return displacements(poses[torch.from_numpy(waypoints)], poses)


def action_measures(predicted: Tensor, actions: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Mean error of the arm's and accuracy of the gripper's actions; the latter too where the gripper changes."""
    error = (predicted[..., :-1] - actions[..., :-1]).abs().mean(-1)
    right = ((predicted[..., -1] > 0) == (actions[..., -1] > 0)).float()
    valid = mask.float()
    closing = actions[..., -1] > 0
    changes = valid * (closing != closing[:, :1])
    return {
        "arm_l1": (error * valid).sum() / valid.sum(),
        "first_arm_l1": error[:, 0].mean(),
        "gripper_accuracy": (right * valid).sum() / valid.sum(),
        "gripper_change_accuracy": (right * changes).sum() / changes.sum().clamp(min=1),
        "gripper_size": (predicted[..., -1].abs() * valid).sum() / valid.sum(),
    }


def waypoint_measures(errors: Tensor | None) -> dict[str, Tensor]:
    """Mean distance in metres by which the next waypoint, and the one after it, were missed, from (b, k)."""
    return {} if errors is None else {f"waypoint_{k + 1}_off": error for k, error in enumerate(errors.mean(0))}
