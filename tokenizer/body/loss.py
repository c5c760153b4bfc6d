"""The loss of the Motion VAE: four groups of features weigh alike, and a little of the latents' divergence."""

import torch
from torch import Tensor

from tokenizer.body.features import groups
from tokenizer.body.model import Latents
from tokenizer.body.options import LATENT_FRAMES, BodyConfig

_TINY = 1e-8


def losses(
    config: BodyConfig, rebuilt: Tensor, target: Tensor, latents: Latents, valid: Tensor | None = None
) -> dict[str, Tensor]:
    """``rec_`` of each group, ``rec_total`` (their mean), ``kl`` and ``total``, scalars.

    ``rebuilt`` and ``target`` are (b, t, d); ``valid`` (b, t) is 1 for frames that count. Squares are averaged over the
    valid frames and columns of a group; the divergence over those latents that some valid frame belongs to.
    """
    square = (rebuilt - target).square()
    found = {}
    for name, columns in groups(config.num_joints).items():
        part = square[..., columns]
        found[f"rec_{name}"] = part.mean() if valid is None else _mean(part, valid)
    found["rec_total"] = torch.stack(list(found.values())).mean()
    mean, log_variance = latents
    divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp())
    if valid is None:
        found["kl"] = divergence.mean()
    else:
        found["kl"] = _mean(divergence, valid.unflatten(1, (-1, LATENT_FRAMES)).amax(-1))
    found["total"] = found["rec_total"] + config.lambda_kl * found["kl"]
    return found


def _mean(x: Tensor, valid: Tensor) -> Tensor:
    """Of (b, t, d) where ``valid`` (b, t) is 1; 0 where it nowhere is."""
    return (x * valid.unsqueeze(-1)).sum() / (valid.sum() * x.shape[-1] + _TINY)
