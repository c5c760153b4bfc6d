"""LIBERO in simulation: gymnasium environments, scripted experts, collection and evaluation.

Importing this package chooses MuJoCo's off-screen GL backend (see ``demos.gl``). Nothing heavy is imported here.
"""

from demos.gl import prefer_off_screen

prefer_off_screen()
