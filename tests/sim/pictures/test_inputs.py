"""Clips from demonstrations and videos: what they hold, what was converted, and clear errors."""

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from sim.pictures.inputs import demonstration_clip, image_clip, video_clip
from tests.policy.tiny import make_data
from tests.sim.examples import VIEWS, save_video


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
