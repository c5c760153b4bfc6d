"""A linear start rebuilds bodies before anything is trained, whichever way the network looks at time."""

import numpy as np
import pytest
import torch

from demos.synthetic_body import Person, body_motion
from tokenizer.body.data import tensors_of
from tokenizer.body.features import features_of
from tokenizer.body.linear_start import start_linear
from tokenizer.body.loss import losses
from tokenizer.body.measures import pose_errors
from tokenizer.body.model import MotionVAE
from tokenizer.body.options import BodyConfig


def drawn_features(seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return features_of(tensors_of(body_motion(Person.drawn(rng), rng, 60)))[0]


@pytest.fixture(scope="module")
def motions() -> list[torch.Tensor]:
    return [drawn_features(seed) for seed in range(40)]


@pytest.mark.parametrize("options", [{}, {"look_ahead": True}, {"mode": "published"}], ids=str)
@pytest.mark.parametrize("hidden", [96, 320], ids="hidden {}".format)
def test_a_linear_start_rebuilds_motions_that_it_has_not_seen(motions, options: dict, hidden: int) -> None:
    torch.manual_seed(0)
    vae = MotionVAE(BodyConfig(hidden_dim=hidden, latent_dim=64, num_resnet_blocks=1, **options))
    start_linear(vae, motions)
    unseen = torch.stack([drawn_features(seed) for seed in (100, 101, 102)])
    with torch.no_grad():
        found = vae.eval()(unseen)
    assert pose_errors(found.motion, unseen, torch.ones(unseen.shape[:2]))["mpjpe_mm"] < 60
    assert found.latents.mean.std() < 3


def test_wider_vectors_hold_more(motions) -> None:
    errors = []
    for width in (4, 16, 64):
        vae = MotionVAE(BodyConfig(hidden_dim=96, latent_dim=width, num_resnet_blocks=1))
        start_linear(vae, motions)
        batch = torch.stack(motions[:8])
        with torch.no_grad():
            errors.append(float(losses(vae.config, vae.eval()(batch).motion, batch, vae.encode(batch))["rec_total"]))
    assert errors[0] > 2 * errors[1] > 8 * errors[2]


def test_all_weights_can_be_trained_from_a_linear_start(motions) -> None:
    vae = MotionVAE(BodyConfig(hidden_dim=48, latent_dim=16, num_resnet_blocks=1))
    start_linear(vae, motions)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=1e-4)
    before = {name: weight.detach().clone() for name, weight in vae.named_parameters()}
    batch = torch.stack(motions[:4])
    for _ in range(2):  # in the first step residual blocks learn what to add, in the second from what
        found = vae(batch)
        optimizer.zero_grad()
        losses(vae.config, found.motion, batch, found.latents)["total"].backward()
        optimizer.step()
    assert [name for name, weight in vae.named_parameters() if torch.equal(weight, before[name])] == []
