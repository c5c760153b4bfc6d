"""Files of predictions: the very numbers of the policy, in every format, in folders that never collide."""

import json
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from common.errors import UserError
from sim.pictures.inputs import Clip, Frame, image_clip
from sim.pictures.predictions import Predictor
from sim.pictures.sheet import CAPTION, GAP, HEADER
from sim.pictures.visualization import EvenlySpaced, visualize
from tests.sim.examples import VIEWS, ShiftsRight

SIDE = 96


def gray_clip(frames: int = 12) -> Clip:
    frame = Frame(np.full((2, 32, 32, 3), 60, np.uint8), np.zeros(9), np.zeros(7))
    return Clip("gray", "move right", lambda: iter([frame] * frames))


def lit(picture: np.ndarray, view: int, top: int = HEADER) -> np.ndarray:
    """Where the panel of a view differs from the gray image below."""
    left, above = GAP + view * (SIDE + GAP), top + CAPTION
    panel = picture[above : above + SIDE, left : left + SIDE].astype(int)
    return np.abs(panel - 60).max(-1) > 40


def assert_shows_the_predicted_line(picture: np.ndarray) -> None:
    for view in range(2):
        rows, columns = np.nonzero(lit(picture, view))
        # from (0, -0.75) to (0, 0.75) in [-1, 1]: the middle row, from an eighth to seven eighths of the width
        assert abs(rows.mean() - (SIDE / 2 - 0.5)) < 0.6
        assert abs(columns.min() - (SIDE / 8 - 0.5)) <= 2
        assert abs(columns.max() - (SIDE * 7 / 8 - 0.5)) <= 2


def test_pictures_show_the_very_numbers_that_the_policy_returned(tmp_path: Path):
    policy = ShiftsRight()
    predictor = Predictor(policy, "move right")
    prediction = predictor(0, next(gray_clip().frames()))
    assert (prediction.points == policy.returned[0][0]).all()
    folder, _ = visualize(gray_clip(), predictor, tmp_path, formats=("png", "mp4"), side=SIDE)
    sheet = cv2.cvtColor(cv2.imread(str(folder / "sheet.png")), cv2.COLOR_BGR2RGB)
    assert_shows_the_predicted_line(sheet)
    film = cv2.VideoCapture(str(folder / "video.mp4"))
    assert_shows_the_predicted_line(cv2.cvtColor(film.read()[1], cv2.COLOR_BGR2RGB))


def test_films_are_h264_in_yuv420p_at_20_frames_a_second(tmp_path: Path):
    folder, _ = visualize(gray_clip(12), Predictor(ShiftsRight(), "x"), tmp_path, formats=("mp4", "gif"), side=SIDE)
    about = next(imageio_ffmpeg.read_frames(str(folder / "video.mp4")))
    assert (about["codec"], about["pix_fmt"].split("(")[0], about["fps"]) == ("h264", "yuv420p", 20.0)
    assert imageio_ffmpeg.count_frames_and_secs(str(folder / "video.mp4"))[0] == 12
    assert (folder / "video.gif").read_bytes()[:6] == b"GIF89a"
    assert imageio_ffmpeg.count_frames_and_secs(str(folder / "video.gif"))[0] == 3


def test_a_recording_holds_images_tracks_actions_and_proprioception(tmp_path: Path):
    pytest.importorskip("rerun", reason="the Rerun SDK is not installed")
    folder, _ = visualize(gray_clip(3), Predictor(ShiftsRight(), "x"), tmp_path, formats=("rrd",), side=SIDE)
    content = (folder / "recording.rrd").read_bytes()
    assert content[:3] == b"RRF"
    for entity in (b"/agentview/image", b"/eye_in_hand/predicted", b"/action", b"/proprio", b"/codes"):
        assert entity in content


def test_names_never_collide_and_failures_leave_nothing(tmp_path: Path):
    names = [visualize(gray_clip(1), Predictor(ShiftsRight(), "x"), tmp_path, formats=())[0].name for _ in range(3)]
    assert names == ["gray", "gray-2", "gray-3"]
    with pytest.raises(UserError, match="empty has no frames"):
        visualize(Clip("empty", "x", lambda: iter([])), Predictor(ShiftsRight(), "x"), tmp_path, formats=("mp4",))
    assert len(list(tmp_path.iterdir())) == 3


def test_the_policy_is_asked_at_every_eighth_frame_with_the_instruction(tmp_path: Path):
    policy = ShiftsRight()
    folder, _ = visualize(gray_clip(17), Predictor(policy, "move right"), tmp_path, formats=())
    assert policy.asked == [((1, 2, 32, 32, 3), "move right")] * 3
    windows = json.loads((folder / "predictions.json").read_text())["windows"]
    assert [window["step"] for window in windows] == [0, 8, 16]
    assert windows[0]["codes"] == list(range(15))


def test_images_of_other_sizes_reach_the_policy_in_its_own(tmp_path: Path):
    for name, size in (("front", (90, 120)), ("wrist", (64, 64))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((*size, 3), 128, np.uint8))
    clip = image_clip([f"{tmp_path}/front.png", f"{tmp_path}/wrist.png"], VIEWS, "x")
    policy = ShiftsRight()
    folder, _ = visualize(clip, Predictor(policy, "x"), tmp_path / "out", formats=("png", "mp4"), side=SIDE)
    assert policy.asked[0][0] == (1, 2, 32, 32, 3)
    assert sorted(path.name for path in folder.iterdir()) == ["predictions.json", "sheet.png"]


@pytest.mark.parametrize("count", [1, 4, 5, 9, 10, 11, 57, 1000])
def test_moments_of_a_sheet_are_spread_over_a_stream_of_any_length(count: int):
    moments: EvenlySpaced[int] = EvenlySpaced(5)
    for number in range(count):
        moments.add(number)
    chosen = moments.items()
    assert len(chosen) == min(5, count)
    assert chosen[0] == 0
    assert chosen == sorted(set(chosen))
    assert chosen[-1] >= 0.6 * (count - 1)
