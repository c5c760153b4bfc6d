"""What calibration is made of: a person guides the arm, step by step, and a ``robot.yaml`` comes out.

``robot_bridge/calibrate.py`` is the command.
"""
