"""Training the track tokenizer: a run that is killed goes on as if it had not been, and shows what it does."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common.errors import UserError
from tests.policy.tiny import common, latest, make_data, tokenizer_overrides
from tokenizer import train
from tokenizer.tracks.model import MotionTokenizer
from training import checkpoint

KIND = "motion_tokenizer"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tokenizer")
    make_data(root)
    return root


def losses(folder: Path) -> dict[int, float]:
    events = EventAccumulator(str(folder), {"scalars": 0}).Reload().Scalars("loss")
    return {event.step: event.value for event in events}


def test_a_run_killed_at_any_moment_goes_on_as_if_it_had_not_been(data: Path) -> None:
    settings = {"log_interval": 1, "save_minutes": 0, "max_steps": 60, "val_interval": 1000}
    options = [*tokenizer_overrides(), "loss_moving_share=0.5", "z_noise_std=0.01", "attn_pdrop=0.1"]
    train.main([*options, *common(data, run="whole", **settings)])

    arguments = [*options, *common(data, run="killed", **settings)]
    process = subprocess.Popen([sys.executable, "-m", "tokenizer.train", *arguments], stderr=subprocess.DEVNULL)
    folder = latest(data, KIND, "killed").parent
    log = folder / "log.txt"
    while process.poll() is None and not (log.exists() and "step 1 " in log.read_text()):
        time.sleep(0.05)
    time.sleep(random.uniform(0, 0.5))
    process.kill()
    assert process.wait() == -9
    train.main([*arguments, "resume=true"])

    whole = latest(data, KIND, "whole")
    assert len(losses(whole.parent)) == 60
    assert losses(folder) == losses(whole.parent)
    ours, theirs = load_file(folder / "latest.safetensors"), load_file(whole)
    assert all((ours[name] == theirs[name]).all() for name in theirs)


def test_training_measures_its_codes_and_trajectories_and_draws_them(data: Path) -> None:
    train.main([*tokenizer_overrides(), *common(data, run="shown", vis_interval=2, max_steps=12, save_interval=1)])
    folder = latest(data, KIND, "shown").parent
    tags = set(EventAccumulator(str(folder), {"scalars": 0, "images": 0}).Reload().Tags()["scalars"])
    for name in ("normalized_perplexity", "unique_codes", "dead_code_ratio"):
        assert {f"{name}_step", f"{name}_epoch", f"val/{name}"} <= tags
    for name in ("delta_auc", "motion_explained", "agentview/motion_explained", "eye_in_hand/motion_explained"):
        assert {f"train/{name}", f"val/{name}"} <= tags
    with Image.open(folder / "pictures" / "reconstruction_0000002.png") as picture:
        assert picture.size == (4 * 196 - 4, 4 * 196 - 4)
    assert {path.stem for path in folder.glob("*.safetensors")} == {"latest", "best", "1"}
    best = checkpoint.read(folder / "best.safetensors", KIND)
    assert best.info["metrics"]["loss"] > 0
    MotionTokenizer.load(folder / "1.safetensors")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("loss_tracks=17", "there are 1 to 16"),
        ("loss_moving_share=1.0", "less than 1"),
        ("cond_on_img=true", "needs vision_weights"),
        ("model.codebook_size=100", "use one of 16, 64, 256"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_read(
    tmp_path: Path, setting: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train.main([*tokenizer_overrides(), *common(tmp_path), setting])


@pytest.mark.parametrize(
    "options",
    [
        ["per_view=true", "causal_encoder=diag", "decode=expectation"],
        ["loss.use_focal=true", "loss.class_weight_mode=radial", "loss.codebook_diversity_weight=0.3"],
        ["true_horizon=10", "track_pred_horizon=8", "interp_method=spline", "loss_tracks=null"],
        ["cond_cameraviews=[eye_in_hand]", "decoder_pos_scale=0.2", "amp=false"],
    ],
)
def test_every_variant_trains(data: Path, options: list[str]) -> None:
    train.main([*tokenizer_overrides(), *common(data, run="variant", max_steps=2), *options])


def test_a_tokenizer_that_sees_images_trains(data: Path) -> None:
    from safetensors.torch import save_file

    from tokenizer.resnet import ResNet

    weights = data / "resnet18.safetensors"
    save_file(ResNet(64).state_dict(), weights)
    options = ["cond_on_img=true", "cond_cls=true", "vision_image_size=64", f"vision_weights={weights}"]
    train.main([*tokenizer_overrides(), *common(data, run="seeing", max_steps=2), *options])
    model = MotionTokenizer.load(latest(data, KIND, "seeing"))
    assert model.vis_enc is not None


@pytest.mark.slow
def test_a_compiled_tokenizer_trains(data: Path) -> None:
    options = [*tokenizer_overrides(), "amp=false"]
    for run, compiled in (("plain", "false"), ("compiled", "true")):
        train.main([*options, *common(data, run=run, log_interval=1, compile=compiled)])
    plain, compiled_losses = (losses(latest(data, KIND, run).parent) for run in ("plain", "compiled"))
    assert compiled_losses == pytest.approx(plain, rel=0.02)
