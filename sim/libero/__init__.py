"""LIBERO's world: the benchmark's tasks, its assets, the environment, its control step and its rendering.

Importing this package chooses MuJoCo's off-screen GL backend (see ``common.gl``). Nothing heavy is imported here.
"""

from common.gl import prefer_off_screen

prefer_off_screen()
