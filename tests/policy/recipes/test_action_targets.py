"""What inverse dynamics aims at, and how misses are measured."""

import numpy as np
import pytest
import torch

from policy.recipes.action_targets import action_measures, pad_actions, waypoint_measures


@pytest.mark.parametrize("how", ["zero", "repeat", "mask"])
def test_padding_past_the_end_of_an_episode(how: str) -> None:
    actions, mask = np.zeros((1, 4, 7), np.float32), np.array([[True, True, False, False]])
    actions[:, :2] = [[1.0] * 7, [2.0] * 7]
    padded, counted = pad_actions(actions, mask, how)
    assert padded[0, :, 0].tolist() == ([1, 2, 2, 2] if how == "repeat" else [1, 2, 0, 0])
    assert counted[0].tolist() == ([True, True, False, False] if how == "mask" else [True] * 4)


def test_only_actions_that_count_are_measured() -> None:
    actions = torch.zeros(1, 4, 7)
    actions[0, :, -1] = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    predicted = actions.clone()
    predicted[0, 0, :6] = 0.5  # the arm is off at the first step,
    predicted[0, 2:, -1] = -1  # the gripper misses that it has to close,
    predicted[0, 3, :6] = 9  # and the last step is past the end of the episode
    found = action_measures(predicted, actions, torch.tensor([[True, True, True, False]]))
    assert {name: round(float(value), 4) for name, value in found.items()} == {
        "arm_l1": round(0.5 / 3, 4),
        "first_arm_l1": 0.5,
        "gripper_accuracy": round(2 / 3, 4),
        "gripper_change_accuracy": 0.0,
        "gripper_size": 1.0,
    }


def test_waypoints_are_measured_apart() -> None:
    found = waypoint_measures(torch.tensor([[0.1, 0.2], [0.3, 0.4]]))
    assert {name: round(float(value), 4) for name, value in found.items()} == {
        "waypoint_1_off": 0.2,
        "waypoint_2_off": 0.3,
    }
    assert waypoint_measures(None) == {}
