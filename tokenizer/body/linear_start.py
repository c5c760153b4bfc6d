"""A beginning for the training of a Motion VAE: the best that can be done linearly, instead of nearly nothing.

From random weights postures come late: where a body is, and which way it faces, is so much more of the loss that the
vectors hold nothing else for thousands of steps. The network has a linear path from features to features, beside what
is normalised and activated. Here that path is set to principal components of every fourth frame, features weighted as
in the loss, and to the linear prediction of the three frames between from them; residual blocks begin by adding
nothing. Training goes on from there.
"""

import torch
from torch import Tensor, nn

from tokenizer.body.features import groups
from tokenizer.body.model import LARGEST_LOG_VARIANCE, MotionVAE
from tokenizer.body.network import ResidualBlock

_NOTHING = 1e-7
"""Components with less than this share of the first one's variance are not there."""
_MOTIONS = 400
"""are enough for the statistics"""


@torch.no_grad()
def start_linear(vae: MotionVAE, motions: list[Tensor]) -> None:
    """Sets all weights of the linear path, from features (t, d) of motions as they are trained on."""
    c, encoder, decoder = vae.config, vae.encoder, vae.decoder
    motions = motions[:: max(len(motions) // _MOTIONS, 1)]
    widths = [columns.stop - columns.start for columns in groups(c.num_joints).values()]
    weight = torch.cat([torch.full((width,), width**-0.5) for width in widths])
    mean = torch.cat(motions).mean(0)
    variance, axes = torch.linalg.eigh(torch.cov(((torch.cat(motions) - mean) * weight).T))
    count = min(c.hidden_dim, int((variance > _NOTHING * variance[-1]).sum()))
    variance, axes = variance.flip(0)[:count], axes.flip(1)[:, :count]
    spread = variance.sqrt()
    analysis, synthesis = weight[:, None] * axes / spread, (axes * spread / weight[:, None]).T  # (d, count), (count, d)
    components = [(motion - mean) @ analysis for motion in motions]

    for block in vae.modules():
        if isinstance(block, ResidualBlock):
            nn.init.zeros_(block.conv2.conv.weight)
            nn.init.zeros_(block.conv2.conv.bias)  # type: ignore[arg-type]
    identity = torch.eye(count)
    _set(encoder.input_proj.conv, analysis.T, -mean @ analysis)
    for conv in (encoder.downsample1.conv, encoder.downsample2.conv):
        _set(conv, identity)
    kept = min(c.latent_dim, count)
    _set(encoder.output_proj.conv, identity[:kept])
    _set(decoder.input_proj.conv, identity[:, :kept])
    for doubling, step in ((decoder.upsample1, 2), (decoder.upsample2, 1)):
        other = _frames_on(components, -step if c.look_ahead else step)
        pair = (other, identity) if c.look_ahead else (identity, other)
        doubling.conv.weight[:, :count] = 0
        doubling.conv.bias[:count] = 0  # type: ignore[index]
        for tap, matrix in enumerate(pair, start=doubling.first):
            doubling.conv.weight[:count, :count, tap] = matrix
    _set(decoder.output_proj.conv, synthesis.T, mean)

    # The noise at which a little less costs as much divergence as it saves in reconstruction.
    noise = -torch.log1p(variance[:kept] * c.latent_dim / (2 * max(c.lambda_kl, 1e-12)))
    log_variance = slice(c.latent_dim, c.latent_dim + kept)
    encoder.output_proj.conv.weight[log_variance] = 0
    encoder.output_proj.conv.bias[log_variance] = noise.clamp(min=1 - LARGEST_LOG_VARIANCE)  # type: ignore[index]


def _set(conv: nn.Conv1d, matrix: Tensor, bias: Tensor | float = 0.0) -> None:
    """The first outputs become ``matrix`` (outputs, inputs) times the first inputs of their time, and ``bias``."""
    outputs, inputs = matrix.shape
    assert conv.bias is not None
    conv.weight[:outputs] = 0
    conv.weight[:outputs, :inputs, -1] = matrix
    conv.bias[:outputs] = bias


def _frames_on(components: list[Tensor], step: int) -> Tensor:
    """(count, count), what components (t, count) are multiplied by for those ``step`` frames later, or earlier."""
    far = abs(step)
    first = torch.cat([x[:-far] for x in components])
    second = torch.cat([x[far:] for x in components])
    given, wanted = (first, second) if step > 0 else (second, first)
    return torch.linalg.lstsq(given, wanted).solution
