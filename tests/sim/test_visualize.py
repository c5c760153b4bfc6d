"""Pictures of predictions: the numbers of the policy, for every kind of input, in every format, with clear errors."""

import json
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
import torch

from common.errors import UserError
from sim import visualize as command
from sim.pictures.inputs import Clip, Frame, demonstration_clip, image_clip, video_clip
from sim.pictures.predictions import Predictor
from sim.pictures.sheet import CAPTION, GAP, HEADER
from sim.pictures.visualization import EvenlySpaced, visualize
from tests.policy.tiny import make_data
from tests.sim.examples import ShiftsRight, save_video
from tests.sim.test_eval import save_untrained_bundle

VIEWS = ("agentview", "eye_in_hand")
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


def test_a_demonstration_comes_with_its_instruction_and_true_tracks(tmp_path: Path):
    make_data(tmp_path, tasks=1, episodes=2, steps=10)
    demo = f"{tmp_path}/demos/tiny/task_0_demo.hdf5"
    clip = demonstration_clip(f"{demo}:demo_1", VIEWS)
    frames = list(clip.frames())
    assert (clip.name, clip.text, len(frames)) == ("task_0-demo_1", "open drawer number 0", 10)
    assert frames[0].images.shape == (2, 32, 32, 3)
    assert frames[0].tracks is not None
    assert frames[0].tracks.shape == (2, 16, 16, 2)
    assert np.abs(frames[0].tracks).max() <= 1
    with pytest.raises(UserError, match=r"has no demo_7; it has demo_0 to demo_1"):
        demonstration_clip(f"{demo}:demo_7", VIEWS)
    with pytest.raises(UserError, match="no demonstrations at"):
        demonstration_clip(f"{tmp_path}/absent.hdf5:demo_0", VIEWS)
    with pytest.raises(UserError, match="no tracks at"):
        demonstration_clip(demo, VIEWS, tracks=tmp_path / "elsewhere")
    with pytest.raises(UserError, match="the view 'ceiling'"):
        demonstration_clip(demo, ("ceiling",))


def test_a_demonstration_without_tracks_says_so(tmp_path: Path):
    make_data(tmp_path, tasks=1, episodes=1, steps=4, with_tracks=False)
    clip = demonstration_clip(f"{tmp_path}/demos/tiny/task_0_demo.hdf5", VIEWS)
    assert "nothing to compare" in clip.notes[0]
    assert all(frame.tracks is None for frame in clip.frames())


def test_predictions_are_measured_from_where_the_true_points_start():
    policy = ShiftsRight()
    truth = np.zeros((2, 16, 4, 2), np.float32)
    truth[..., 0, 1] = np.linspace(-0.75, 0.75, 16)
    prediction = Predictor(policy, "x")(0, Frame(np.zeros((2, 32, 32, 3), np.uint8), tracks=truth))
    assert prediction.metrics["mse"] == pytest.approx(0, abs=1e-9)
    assert prediction.metrics["delta_auc"] == 1


def test_videos_are_converted_and_say_how(tmp_path: Path):
    save_video(tmp_path / "wide.mp4", (64, 128), 8)
    both = video_clip([str(tmp_path / "wide.mp4")], VIEWS, "x")
    assert "2 views side by side: agentview, eye_in_hand" in both.notes[0]
    assert [frame.images.shape for frame in both.frames()] == [(2, 64, 64, 3)] * 8

    save_video(tmp_path / "slow.mp4", (48, 64), 5, rate=10.0)
    one = video_clip([f"agentview={tmp_path}/slow.mp4", "eye_in_hand=black"], VIEWS, "x")
    frames = list(one.frames())
    assert len(frames) == 10
    assert frames[0].images.shape == (2, 48, 48, 3)
    assert not frames[0].images[1].any()
    light = [frame.images[0].mean() for frame in frames]
    assert light[0] == pytest.approx(light[1])
    assert light[2] > light[1] + 2
    assert "no camera, shown black" in one.notes[0]
    assert "10 frames/s, taken at 20" in one.notes[1]
    assert "the middle 48 x 48 of 64 x 48" in one.notes[2]


def test_wrong_inputs_are_named(tmp_path: Path):
    save_video(tmp_path / "one.mp4", (48, 64), 2)
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    with pytest.raises(UserError, match="is not 2 squares side by side"):
        video_clip([str(tmp_path / "one.mp4")], VIEWS, "x")
    with pytest.raises(UserError, match="no file at"):
        video_clip([str(tmp_path / "absent.mp4")], VIEWS, "x")
    with pytest.raises(UserError, match="not a video that can be decoded"):
        video_clip([str(tmp_path / "broken.mp4")], VIEWS, "x")
    with pytest.raises(UserError, match="sees 2 views"):
        image_clip([str(tmp_path / "one.png")], VIEWS, "x")
    with pytest.raises(UserError, match="is not an image"):
        image_clip([str(tmp_path / "broken.mp4"), "eye_in_hand=black"], VIEWS, "x")
    with pytest.raises(UserError, match="has one prediction only"):
        Predictor(ShiftsRight(), "x", samples=8)


def test_images_of_other_sizes_reach_the_policy_in_its_own(tmp_path: Path):
    for name, size in (("front", (90, 120)), ("wrist", (64, 64))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((*size, 3), 128, np.uint8))
    clip = image_clip([f"{tmp_path}/front.png", f"{tmp_path}/wrist.png"], VIEWS, "x")
    policy = ShiftsRight()
    folder, _ = visualize(clip, Predictor(policy, "x"), tmp_path / "out", formats=("png", "mp4"), side=SIDE)
    assert policy.asked[0][0] == (1, 2, 32, 32, 3)
    assert sorted(path.name for path in folder.iterdir()) == ["predictions.json", "sheet.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to look at"),
        (["--demo", "x.hdf5", "--image", "y.png"], "not --demo and --image together"),
        (["--video", "x.mp4"], "needs the instruction"),
        (["--demo", "x.hdf5", "--formats", "bmp"], "unknown format 'bmp'"),
        (["--demo", "x.hdf5", "--every", "0"], "--every: '0' is not a whole number above 0"),
    ],
)
def test_bad_commands_are_one_line(tmp_path: Path, arguments: list[str], message: str):
    save_untrained_bundle(tmp_path / "policy.safetensors")
    with pytest.raises(UserError, match=message):
        command.main([*arguments, "--checkpoint", str(tmp_path / "policy.safetensors"), "--out", str(tmp_path)])


def test_the_command_draws_samples_of_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save_untrained_bundle(tmp_path / "policy.safetensors")
    make_data(tmp_path, tasks=1, episodes=1, steps=10)
    arguments = ["--demo", f"{tmp_path}/demos/tiny/task_0_demo.hdf5", "--samples", "3", "--formats", "png"]
    command.main([*arguments, "--checkpoint", str(tmp_path / "policy.safetensors"), "--out", str(tmp_path / "out")])
    assert "task_0-demo_0: predictions.json, sheet.png" in capsys.readouterr().out
    assert (tmp_path / "out" / "task_0-demo_0" / "sheet.png").stat().st_size > 1000
    with pytest.raises(UserError, match="no bundle at"):
        command.main([*arguments, "--checkpoint", str(tmp_path / "absent.safetensors")])


def test_samples_differ_and_come_from_the_likeliest_codes(tmp_path: Path):
    from policy import load_policy

    save_untrained_bundle(tmp_path / "policy.safetensors")
    policy = load_policy(tmp_path / "policy.safetensors")
    images, queries = np.zeros((1, 2, 64, 64, 3), np.uint8), np.zeros((1, 2, 1, 4, 2), np.float32)
    torch.manual_seed(0)
    codes, points = policy.sample_traj(images, queries, ["x"], samples=6)
    assert codes.shape == (1, 6, 15)
    assert points.shape == (1, 6, 2, 16, 4, 2)
    assert len({tuple(sample) for sample in codes[0]}) > 1
    greedy, points = policy.sample_traj(images, queries, ["x"], samples=2, top_k=1)
    assert (greedy[0] == policy.predict_codes(images, ["x"])[0]).all()
    assert np.allclose(points[0, 1], policy.predict_traj(images, queries, ["x"])[0])


def test_a_live_episode_is_played_as_the_evaluation_would(libero_assets: Path, tmp_path: Path):
    save_untrained_bundle(tmp_path / "policy.safetensors")
    arguments = ["--suite", "libero_object", "--task", "0", "--episode", "2", "--max-steps", "2", "--formats", "png"]
    arguments += ["--assets", str(libero_assets), "--checkpoint", str(tmp_path / "policy.safetensors")]
    command.main([*arguments, "--out", str(tmp_path / "out")])
    summary = json.loads((tmp_path / "out/libero_object-task00-episode002/predictions.json").read_text())
    assert summary["text"] == "pick up the alphabet soup and place it in the basket"
    assert len(summary["windows"]) == 1
