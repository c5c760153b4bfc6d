"""How much of a codebook is used: the same measures for every tokenizer that has one."""

import torch
from torch import Tensor


def code_usage(counts: Tensor) -> dict[str, float]:
    """How evenly codes are used, from how often each was (codebook,); the codebook is all codes that there are.

    ``perplexity`` is the number of codes that would be as uncertain if all were used alike, ``normalized_perplexity``
    that divided by the most it could be for so many codes or draws, ``entropy`` its logarithm (in nats),
    ``dead_code_ratio`` the share of codes that are never used.
    """
    counts = counts.float()
    drawn, p = int(counts.sum()), counts / counts.sum()
    perplexity = 2 ** -(p * (p + 1e-10).log2()).sum().item()
    unique = int((counts > 0).sum())
    return {
        "perplexity": perplexity,
        "normalized_perplexity": perplexity / min(len(counts), drawn),
        "entropy": torch.special.entr(p).sum().item(),
        "unique_codes": float(unique),
        "dead_code_ratio": 1 - unique / len(counts),
    }
