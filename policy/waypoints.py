"""Waypoints: where the hand will be when its fingers next open or close.

Nearly everything a hand does leads to such a place, and any demonstration tells where it was, so it is a target that
comes for free and says more about the scene than the next action does: it trains the encoders to find what matters.
The same idea picks the key frames of James and Davison, Q-attention (2022), section 4.1.
"""

import numpy as np
import torch
from torch import Tensor, nn

from demos.panda import POSE_DIM
from policy.condition_tokens import ConditionTokens, Features, given

CODE_WIDTH = 32
"""Numbers that are made of a motion code for the prediction of waypoints."""


def next_changes(closing: np.ndarray, episode: np.ndarray, count: int) -> np.ndarray:
    """For each frame the frames (frames, count) of its episode at which the gripper's command changes next.

    ``closing`` (frames,) bool is the command, ``episode`` (frames,) the episode of each frame, in order. After the
    last change comes the episode's last frame.

    >>> next_changes(np.array([0, 0, 1, 1, 0, 0], bool), np.zeros(6, int), 2).tolist()
    [[2, 4], [2, 4], [4, 5], [4, 5], [5, 5], [5, 5]]
    """
    frames = np.arange(len(closing))
    starts = np.flatnonzero(np.diff(episode, prepend=-1))
    last = np.append(starts[1:], len(closing)) - 1  # of each episode
    last_of = last[np.searchsorted(starts, frames, side="right") - 1]
    changes = np.flatnonzero((closing[1:] != closing[:-1]) & (episode[1:] == episode[:-1])) + 1
    after = np.searchsorted(changes, frames, side="right")
    found = np.append(changes, np.full(count, len(closing)))[after[:, None] + np.arange(count)]
    return np.minimum(found, last_of[:, None])


def displacements(poses: Tensor, now: Tensor) -> Tensor:
    """Poses (b, count, 9) to come and the present one (b, 9) -> what separates them: decimetres, x and y axis."""
    difference = poses - now.unsqueeze(1)
    return torch.cat([difference[..., :3] * 10, difference[..., 3:]], -1)


class WaypointTokens(ConditionTokens):
    """Predicts the next ``count`` waypoints as displacements from the hand's present pose, and makes tokens of them.

    ``width`` is that of image tokens, proprioception and, ``from_text``, text together; ``from_codes`` says how many
    motion codes it sees besides, in order, as ``CODE_WIDTH`` numbers each.
    """

    def __init__(self, width: int, dim: int, count: int, from_text: bool, from_codes: int, hidden: int = 256):
        super().__init__()
        self.count, self.from_text = count, from_text
        self.codes = nn.Linear(dim, CODE_WIDTH) if from_codes else None
        width += from_codes * CODE_WIDTH
        self.predict = nn.Sequential(
            nn.Linear(width, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, count * POSE_DIM),
        )
        self.token = nn.Linear(POSE_DIM, dim)

    def forward(self, features: Features) -> Tensor:
        """The predicted displacements (b, count, 9), see ``displacements``."""
        image_tokens = given(features.image_tokens, "images").flatten(1)
        seen = [image_tokens, given(features.proprio, "proprioception").to(image_tokens.dtype)]
        if self.from_text:
            seen.append(given(features.text, "text"))
        if self.codes is not None:
            seen.append(self.codes(given(features.codes, "motion codes")).flatten(1))
        predicted = self.predict(torch.cat(seen, 1))
        return predicted.unflatten(-1, (self.count, POSE_DIM)).float()

    def tokens(self, features: Features) -> Tensor:
        """One token (b, count, dim) for each predicted waypoint."""
        return self.token(given(features.waypoints, "waypoints"))
