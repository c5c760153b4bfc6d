"""What the policy server is made of; ``robot_bridge.server`` puts it together.

A message comes in by the ``door``, is judged by ``dispatch`` (with ``admission``, ``observation``, ``instructions``),
waits (``waiting``) for the ``inference`` thread, and its answer (``replies``) goes out by the door again.
"""
