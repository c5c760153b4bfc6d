"""``--rename``: what can be said, and what is refused."""

import numpy as np
import pytest

from common.errors import UserError
from policy.remote.names import Names

VIEWS = ("agentview", "eye_in_hand")


def test_without_renames_the_names_are_the_policy_s():
    names = Names.read([], VIEWS)
    assert names == Names()
    assert names.camera("agentview") == "agentview"
    assert names.split(np.zeros((1, 16, 7))).keys() == {"action"}


@pytest.mark.parametrize(
    "rename",
    ["", "=", "agentview", "agentview=", "=front", "front=agentview", "agentview=a+b", "task=a+b", "proprio=a+",
     "action=a+b", "action=a:0+b:7", "action=a:x", "action=:7"],
)  # fmt: skip
def test_what_the_policy_does_not_have_is_refused(rename: str):
    with pytest.raises(UserError, match="--rename"):
        Names.read([rename], VIEWS)


def test_an_action_is_split_by_its_widths():
    names = Names.read(["action=arm:6+gripper:1"], VIEWS)
    actions = np.arange(14.0).reshape(1, 2, 7)
    parts = names.split(actions)
    np.testing.assert_array_equal(np.concatenate([*parts.values()], axis=-1), actions)
    with pytest.raises(ValueError, match="action has 8 numbers, the renamed parts 7"):
        names.split(np.zeros((1, 2, 8)))
    assert Names.read(["action=joints"], VIEWS).split(actions)["joints"] is actions
