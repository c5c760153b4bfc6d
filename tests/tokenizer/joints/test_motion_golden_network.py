"""Golden data of the motion VQ-VAE: layers, whole models, quantizers and their steps."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tokenizer.golden import load
from tokenizer.joints.model import JointTokenizer
from tokenizer.joints.network import ResidualBlock, ResidualStack
from tokenizer.joints.options import JointTokenizerConfig
from tokenizer.joints.quantizers import EmaQuantizer, ResetQuantizer, make_quantizer

MODELS = ("relu_none", "gelu_ln", "silu_gn", "relu_bn", "plain")


def close(ours: Tensor, reference: Tensor | float, tolerance: float = 1e-5) -> None:
    reference = torch.as_tensor(reference)
    assert ours.shape == reference.shape
    largest = max(1.0, reference.abs().max().item())
    assert (ours - reference).abs().max().item() <= tolerance * largest


def options(config: dict[str, Any], **more: Any) -> JointTokenizerConfig:
    names = set(JointTokenizerConfig.__dataclass_fields__)
    return JointTokenizerConfig(**{name: value for name, value in config.items() if name in names}, **more)


def load_source(model: JointTokenizer, weights: dict[str, Tensor]) -> JointTokenizer:
    """The source keeps neither statistics nor the state of its quantizer."""
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected
    ours = ("mean", "std", "constant", "code_sum", "code_count", "begun")
    assert all(name.rsplit(".", 1)[-1] in ours for name in missing), missing
    return model.eval()


def total_loss(quantized: Any, kind: str) -> Tensor:
    """The source's loss; it has no gradient for the codebook of reset."""
    return quantized.commitment + (quantized.codebook if kind == "orig" else 0)


def test_residual_blocks(golden: Path) -> None:
    data = load(golden, "motion_vqvae_blocks")
    for case in data["blocks"]:
        block = ResidualBlock(case["width"], case["dilation"], case["act"], case["norm"]).eval()
        block.load_state_dict(case["state_dict"])
        close(block(case["x"]), case["y"], 1e-6)
    case = data["stack"]
    stack = ResidualStack(case["width"], case["depth"], case["growth"], case["act"], case["norm"])
    stack.load_state_dict(case["state_dict"])
    assert [block.conv1.dilation[0] for block in stack.model] == case["dilations"]
    close(stack(case["x"]), case["y"], 1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_whole_models(golden: Path, name: str) -> None:
    data = load(golden, f"motion_vqvae_model_{name}")
    config, x, reference = data["config"], data["inputs"]["x"], data["outputs"]
    model = load_source(JointTokenizer(options(config), config["frame_size"], 30), data["state_dict"])
    z = model.vqvae.encoder(x.transpose(1, 2))
    close(z, reference["encoder"])
    quantized = model.vqvae.quantizer(z)
    assert torch.equal(quantized.indices, reference["indices"])
    close(quantized.vectors, reference["quantized"])
    close(total_loss(quantized, config["quantizer"]), reference["quantizer_loss"])
    close(quantized.perplexity, reference["perplexity"], 1e-6)
    close(model.vqvae(x)[0], reference["x_out"])
    assert torch.equal(model.encode(x), reference["indices"])
    close(model.decode(reference["indices"][:1]), reference["decode_indices_0"])
    close(model.decode(reference["indices"])[:1], reference["decode_indices_0"])  # a batch stays one
    for part, key, given in (
        (model.vqvae.encoder, "encoder_blocks", x.transpose(1, 2)),
        (model.vqvae.decoder, "decoder_blocks", reference["quantized"]),
    ):
        for layer, expected in zip(part.model, reference[key], strict=True):
            given = layer(given)
            close(given[:1], expected)


@pytest.mark.parametrize("kind", ["ema", "reset", "ema_reset", "orig"])
def test_quantizers_in_eval_mode(golden: Path, kind: str) -> None:
    data = load(golden, "motion_vqvae_quantizers_eval")
    inputs, reference = data["inputs"], data["outputs"][kind]
    codes, width = inputs["codebook"].shape
    quantizer = make_quantizer(JointTokenizerConfig(nb_code=codes, code_dim=width, quantizer=kind)).eval()
    quantizer.vectors.data.copy_(inputs["codebook"])
    z = inputs["z"].clone().requires_grad_()
    found = quantizer(z)
    assert torch.equal(found.indices, reference["indices"])
    close(found.vectors, reference["quantized"])
    close(total_loss(found, kind), reference["loss"])
    close(found.perplexity, reference["perplexity"], 1e-6)
    close(quantizer.lookup(found.indices).transpose(1, 2).reshape(-1, width), reference["dequantized_rows"])
    ((found.vectors * inputs["out_weight"]).sum() + 3 * total_loss(found, kind)).backward()
    close(z.grad, reference["grad_z"])
    if kind == "orig":
        close(quantizer.vectors.grad, reference["grad_codebook"])
    else:
        assert getattr(quantizer.vectors, "grad", None) is None


def test_an_untrained_codebook_of_zeros_gives_code_0(golden: Path) -> None:
    data = load(golden, "motion_vqvae_quantizers_eval")
    reference = data["outputs"]["untrained_zero_codebook"]
    quantizer = make_quantizer(JointTokenizerConfig(nb_code=25, code_dim=10, quantizer="ema")).eval()
    found = quantizer(data["inputs"]["z"])
    assert torch.equal(found.indices, reference["indices"])
    close(found.perplexity, reference["perplexity"], 1e-6)
    close(found.commitment, reference["loss"])


CASES = {
    "ema_reset_from_state": "ema_reset",
    "ema_reset_from_state_mu099": "ema_reset",
    "ema_reset_first_step": "ema_reset",
    "ema_first_steps": "ema",
    "reset_first_steps": "reset",
    "ema_reset_tiled": "ema_reset",
}


@pytest.mark.parametrize("name", CASES)
def test_steps_of_the_quantizers(golden: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = load(golden, "motion_vqvae_quantizer_steps")["cases"][name]
    config = JointTokenizerConfig(
        nb_code=case["nb_code"], code_dim=case["code_dim"], quantizer=CASES[name], mu=case.get("mu", 0.99)
    )
    quantizer = make_quantizer(config).train()
    assert isinstance(quantizer, EmaQuantizer | ResetQuantizer)
    first = case["steps"][0]
    quantizer.codebook.data.copy_(first["before"]["codebook"])
    quantizer.begun.fill_(first["before"]["init"])
    if isinstance(quantizer, EmaQuantizer) and first["before"]["code_sum"] is not None:
        quantizer.code_sum.copy_(first["before"]["code_sum"])
        quantizer.code_count.copy_(first["before"]["code_count"])
    for step in case["steps"]:
        if "noise_init" in step:  # what the source drew
            drawn = iter([step["noise_init"], step["noise_update"]])
            monkeypatch.setattr(torch, "randn_like", lambda _, drawn=drawn: next(drawn))
        found = quantizer(step["x"])
        assert torch.equal(found.indices, step["indices"])
        assert torch.equal(torch.bincount(found.indices.flatten(), minlength=config.nb_code), step["hits"])
        close(found.vectors, step["quantized"])
        close(found.commitment, step["loss"])
        close(found.perplexity, step["perplexity"], 1e-6)
        close(quantizer.codebook.data, step["after"]["codebook"])
        assert bool(quantizer.begun) == step["after"]["init"]
        if isinstance(quantizer, EmaQuantizer):
            close(quantizer.code_sum, step["after"]["code_sum"])
            close(quantizer.code_count, step["after"]["code_count"])
            if step.get("reset_mask") is not None:
                assert torch.equal(quantizer.code_count < 1, step["reset_mask"])
