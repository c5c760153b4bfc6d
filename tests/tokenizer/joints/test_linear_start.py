"""A linear start rebuilds motions before anything is trained, at any number of halvings."""

import numpy as np
import pytest
import torch

from tests.tokenizer.joints.examples import motion
from tokenizer.joints.features import features_of
from tokenizer.joints.linear_start import start_linear
from tokenizer.joints.model import JointTokenizer
from tokenizer.joints.options import JointTokenizerConfig


def features(seed: int) -> torch.Tensor:
    """Slow enough that the mean of four frames says most of it."""
    return torch.from_numpy(features_of(motion(seed, joints=3, frames=96, rate=60), JointTokenizerConfig().features))


def started(**options) -> tuple[JointTokenizer, torch.Tensor]:
    config = JointTokenizerConfig(code_dim=16, nb_code=16, width=32, depth=1, **options)
    frames = torch.cat([features(seed) for seed in range(20)])
    model = JointTokenizer(config, frames.shape[1], 60)
    model.normalise_by(frames)
    start_linear(model.vqvae.encoder, model.vqvae.decoder, model.normalised(frames))
    return model, torch.stack([model.normalised(features(seed)) for seed in (100, 101)])


@pytest.mark.parametrize("options", [{"down_t": 1}, {"down_t": 2}, {"vq_norm": "LN"}, {"vq_act": "gelu"}], ids=str)
def test_a_linear_start_rebuilds_motions_that_it_has_not_seen(options: dict) -> None:
    torch.manual_seed(0)
    model, unseen = started(**options)
    with torch.no_grad():
        again = model.vqvae.decoder(model.vqvae.encoder(unseen.transpose(1, 2))).transpose(1, 2)
    inside = slice(8, -8)  # at its ends a clip is surrounded by zeros
    assert (again - unseen)[:, inside].square().mean() < 0.02 * unseen[:, inside].square().mean()


def test_narrow_networks_keep_the_first_components() -> None:
    errors = []
    for width in (4, 12, 32):
        config = JointTokenizerConfig(code_dim=16, nb_code=16, width=width, depth=1)
        frames = torch.cat([features(seed) for seed in range(20)])
        model = JointTokenizer(config, frames.shape[1], 60)
        model.normalise_by(frames)
        start_linear(model.vqvae.encoder, model.vqvae.decoder, model.normalised(frames))
        x = model.normalised(features(100))[None].transpose(1, 2)
        with torch.no_grad():
            errors.append(float((model.vqvae.decoder(model.vqvae.encoder(x)) - x).square().mean()))
    assert errors[0] > 1.5 * errors[1] > 3 * errors[2]


def test_a_common_scale_counts_errors_of_all_joints_alike() -> None:
    frames = torch.from_numpy(
        features_of(motion(0, joints=3), JointTokenizerConfig().features) * np.float32([1] * 4 + [1, 2, 3] * 2)
    )
    model = JointTokenizer(JointTokenizerConfig(joint_scale="common", code_dim=4, width=4, depth=1), 10, 30)
    model.normalise_by(frames)
    joints, moves = model.std[4:7], model.std[7:]
    torch.testing.assert_close(joints, joints[:1].expand(3))
    torch.testing.assert_close(joints[0], frames[:, 4:7].std(0).square().mean().sqrt())
    torch.testing.assert_close(moves, joints * 30)
    torch.testing.assert_close(model.restored(model.normalised(frames)), frames)
