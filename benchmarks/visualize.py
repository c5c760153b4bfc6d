"""How fast trajectories are drawn: 2 views x 400 points over 16 steps, all of them moving (the worst case).

python -m benchmarks.visualize
"""

import time

import cv2
import numpy as np

from sim.pictures.overlay import draw_tracks, moving, tail

WANTED = {128: 60.0, 512: 20.0}
"""Frames a second at these image sizes."""


def frames_per_second(size: int, seconds: float = 2.0) -> float:
    """Frames of 2 views that one core draws in a second; every point of each moves."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    start = rng.uniform(-0.95, 0.95, (2, 1, 400, 2))
    points = (start + np.cumsum(rng.normal(0, 2 / 128, (2, 16, 400, 2)), 1)).astype(np.float32)
    count, begin = 0, time.process_time()
    while (spent := time.process_time() - begin) < seconds:
        for image, view in zip(images, points, strict=True):
            chosen = view[:, moving(view, (128, 128))]
            draw_tracks(image, chosen, opacity=tail(15, now=4))
        count += 1
    return count / spent


def main() -> None:
    cv2.setNumThreads(1)
    for size, wanted in WANTED.items():
        reached = frames_per_second(size)
        verdict = "ok" if reached >= wanted else "too slow"
        print(f"{size:4} x {size}: {reached:6.1f} frames/s of 2 views x 400 points (wanted {wanted:.0f}): {verdict}")


if __name__ == "__main__":
    main()
