"""The procedural pack: our own MJCF models of everything that LIBERO's 130 tasks use, made from primitive shapes.

>>> from sim.libero.procedural import build
>>> build()  # doctest: +SKIP
PosixPath('.../procedural/3f0c...')
"""

from sim.libero.procedural.pack import build

__all__ = ["build"]
