"""The procedural pack: our own MJCF models of everything that LIBERO's 130 tasks use, made from primitive shapes.

>>> from sim.procedural import build
>>> build()  # doctest: +SKIP
PosixPath('.../procedural/3f0c...')
"""

from sim.procedural.pack import build

__all__ = ["build"]
