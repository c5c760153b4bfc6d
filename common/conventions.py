"""What demonstrations, simulator, policies and robots agree on: cameras, control rate, horizon, widths of vectors."""

VIEWS = ("agentview", "eye_in_hand")
"""The cameras of an observation, in the order of its images."""
CONTROL_FREQUENCY = 20
"""Control steps a second (Hz): of demonstrations, of LIBERO's environments, and by default of robots."""
HORIZON = 16
"""Steps into the future: actions of a chunk, frames over which a point is followed (its first one included)."""
ACTION_DIM = 7
"""An action: translation (x, y, z) and rotation (axis-angle) of the hand, and the gripper."""
PROPRIO_DIM = 9
"""Proprioception: 7 joint positions (rad) and 2 gripper finger positions (m)."""
