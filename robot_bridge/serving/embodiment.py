"""What a served policy's numbers mean, for clients who ask before they let it move anything."""

from dataclasses import replace

from common.embodiment import LIBERO, Embodiment, Group
from policy.interface import Policy

JOINTS_AND_GRIPPER = (Group.of("arm", "joint_target", 7), Group.of("gripper", "gripper_sign", 1))
"""Actions of policies that are trained on joint angles (``action_key=joint_states``)."""


def embodiment_of(policy: Policy) -> Embodiment:
    """As the policy itself describes it under ``embodiment``; else LIBERO's, with the actions that it is trained on."""
    about = policy.describe()
    if "embodiment" in about:
        return Embodiment.from_dict(about["embodiment"])
    action = JOINTS_AND_GRIPPER if about.get("action_key") == "joint_states" else LIBERO.action
    height, width = policy.image_size
    return replace(LIBERO, action=action, cameras=dict.fromkeys(policy.views, (height, width)))
