"""How well forward dynamics predicts: its codes, and the motion that they decode to beside the true one."""

import torch
from torch import Tensor

from policy.forward_dynamics import ForwardDynamics
from tokenizer.tracks.metrics import metrics_beside_still
from tokenizer.tracks.model import MotionTokenizer


@torch.no_grad()
def forward_measures(
    model: ForwardDynamics, tokenizer: MotionTokenizer, images: Tensor, text: Tensor, points: Tensor, codes: Tensor
) -> dict[str, float]:
    """Images (b, v, h, w, 3) in [0, 1], prepared text, true points (b, v, t, n, 2), their codes (b, s) -> measures.

    ``loss`` and ``teacher_forced_code_accuracy`` are of each code when all true ones before it are given, which no
    policy has; ``greedy_code_accuracy`` and the measures of tracks are of the codes that ``predict`` makes alone.
    """
    condition = model.encode(images, text)
    logits = model.logits(condition, codes)
    predicted = model.predict(condition)
    decoded = tokenizer.decode_points(model.quantize.indices_to_codes(predicted), points[:, :, :1])
    c = tokenizer.config
    return {
        "loss": model.unembed.loss(logits, codes).item(),
        "teacher_forced_code_accuracy": (model.unembed.likeliest(logits) == codes).float().mean().item(),
        "greedy_code_accuracy": (predicted == codes).float().mean().item(),
        **metrics_beside_still(decoded, points, c.img_shape, c.views),
    }
