"""Decoding with cached keys and values gives what running the whole sequence gives."""

import torch

from tokenizer.transformer import TransformerEncoder, attend, causal_mask


@torch.no_grad()
def test_cached_decoding_equals_the_whole_sequence() -> None:
    torch.manual_seed(0)
    model = TransformerEncoder(9, 16, layers=2, heads=2, mask=causal_mask(9, 4)).eval()
    x = torch.randn(3, 9, 16)
    whole = model(x)
    caches = model.make_caches()
    parts = [model(x[:, :5], caches), *(model(x[:, i : i + 1], caches) for i in range(5, 9))]
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)


def test_attention_written_out_for_bfloat16_equals_the_fused_one() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, 6, 8) for _ in range(3))
    mask = causal_mask(6, 2)
    fused = attend(q, k, v, mask)
    written_out = attend(q.bfloat16().requires_grad_(), k.bfloat16(), v.bfloat16(), mask)
    assert torch.allclose(written_out.float(), fused, atol=0.05)
