"""How torch computes a policy: matrices packed for the processor, bfloat16, or compiled. For inference only."""

import torch
from torch import Tensor, nn

from common.errors import require
from policy.amplify import Amplify
from tokenizer.transformer import DecoderBlock, EncoderBlock

PRECISIONS = ("fp32", "bf16")
LARGE = 1 << 18
"""Numbers of a matrix that is worth packing; smaller ones lie in the processor's caches, and calls cost more."""


class PackedLinear(nn.Module):
    """A Linear whose float32 matrix lies in oneDNN's own order, so that it is not put in order at every call.

    It takes a half of its plain counterpart's time with one row, and with a hundred (AMD with AVX-512, two cores).
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), 128)
        self.weight, self.bias = nn.Parameter(packed, requires_grad=False), linear.bias

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")


def pack(policy: Amplify) -> None:
    """Packs the matrices of the transformers, one after the other; their weights cannot be saved afterwards."""
    for model in (policy.forward_dynamics.trunk, policy.inverse_dynamics.head):
        for block in model.modules():
            if isinstance(block, EncoderBlock | DecoderBlock):
                for parent in list(block.modules()):
                    for name, child in list(parent.named_children()):
                        if isinstance(child, nn.Linear) and child.weight.numel() >= LARGE:
                            setattr(parent, name, PackedLinear(child))


def round_matrices(policy: Amplify) -> None:
    """Matrices and kernels of forward and inverse dynamics to bfloat16; the quantiser and the motion decoder, whose
    smallest differences decide, stay exact."""
    for part in (policy.forward_dynamics, policy.inverse_dynamics):
        for module in part.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.bfloat16()
    policy.motion_tokenizer.quantize.float()


def optimize(policy: Amplify, precision: str, compiled: bool) -> None:
    """Makes ``policy`` compute in ``precision``, and ``compiled`` where its shapes stay: vision encoders and head.

    Raises:
        UserError: there is no such precision.
    """
    require(precision in PRECISIONS, f"torch computes in {' or '.join(PRECISIONS)}, not in {precision}")
    if precision == "bf16":
        round_matrices(policy)
        policy.autocast = torch.bfloat16
    if compiled:
        for module in (policy.forward_dynamics.vision_encoder, policy.inverse_dynamics.vision_encoder):
            if module is not None:
                module.compile()
        policy.inverse_dynamics.head.network.compile()
    elif precision == "fp32" and policy.device.type == "cpu" and torch.backends.mkldnn.is_available():
        pack(policy)
