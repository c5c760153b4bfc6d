"""A Franka Panda with its hand, LIBERO's arm: names of its joints, its home, and its body as spheres."""

JOINTS = tuple(f"joint{number}" for number in range(1, 8))
HOME = (0.0, -0.161, 0.0, -2.4446, 0.0, 2.2268, 0.7854)
"""The pose (rad) in which LIBERO's episodes begin."""
SPHERES = (
    ("link3", (0.0, 0.0, -0.06), 0.066),  # shoulder and elbow
    ("link3", (0.083, 0.05, 0.0), 0.072),
    ("link4", (0.0, 0.0, 0.045), 0.07),
    ("link4", (-0.083, 0.085, 0.0), 0.068),
    ("link4", (-0.083, 0.03, 0.0), 0.06),
    ("link5", (0.0, 0.0, -0.22), 0.07),  # the forearm's ends
    ("link5", (0.0, 0.065, -0.005), 0.07),
    ("link6", (0.0, 0.0, 0.005), 0.056),  # wrist
    ("link6", (0.085, 0.035, 0.002), 0.052),
    ("link6", (0.085, -0.015, 0.002), 0.056),
    ("link7", (0.042, 0.042, 0.082), 0.04),
    ("link7", (0.0, 0.0, 0.078), 0.05),  # flange
    ("gripper_right_gripper", (0.07, 0.0, 0.03), 0.039),  # the hand's broad sides
    ("gripper_right_gripper", (-0.07, 0.0, 0.03), 0.039),
    ("gripper_right_gripper", (0.07, 0.0, 0.008), 0.038),
    ("gripper_right_gripper", (-0.07, 0.0, 0.008), 0.038),
    ("gripper_right_gripper", (0.056, 0.0, 0.096), 0.014),  # tips of the open fingers
    ("gripper_right_gripper", (-0.056, 0.0, 0.096), 0.014),
)
"""What stands for the moving links in the workspace box: body, middle (m), radius (m).

Their lowest point is at most 1 cm above that of the links' shapes and 3 cm below it, in any pose near a table.
"""
