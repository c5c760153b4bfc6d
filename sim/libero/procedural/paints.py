"""The colours that several objects share."""

from sim.libero.procedural.mjcf import Paint

WHITE, CREAM = Paint((0.93, 0.93, 0.91)), Paint((0.93, 0.88, 0.74))
BLACK, DARK = Paint((0.04, 0.04, 0.045)), Paint((0.1, 0.1, 0.11))
RED, ORANGE, YELLOW = Paint((0.80, 0.10, 0.08)), Paint((0.95, 0.50, 0.08)), Paint((0.96, 0.80, 0.16))
GREEN, LEAF, BLUE = Paint((0.05, 0.36, 0.14)), Paint((0.25, 0.55, 0.20)), Paint((0.22, 0.32, 0.68))
SKY, TAN = Paint((0.45, 0.65, 0.90)), Paint((0.80, 0.62, 0.34))
PORCELAIN = Paint((0.93, 0.93, 0.94), gloss=0.6)
