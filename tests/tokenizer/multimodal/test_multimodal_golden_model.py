"""Golden data of the masked model: features, losses, gradients, training steps, schedule and generation."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tokenizer.golden import close, load
from tokenizer.multimodal.generation import Generator, Target, step_sizes
from tokenizer.multimodal.model import MaskedModel, Places, loss_of
from tokenizer.multimodal.options import MaskedModelConfig
from tokenizer.multimodal.token_budget import TokenBudget
from tokenizer.sampling import Sampling
from training.schedules import linear_cosine

DOCUMENT = MaskedModelConfig()


def model_of(data: dict[str, Any], **changed: Any) -> MaskedModel:
    c = data["config"]
    lists = {name: tuple(c[name]) for name in ("modalities", "vocab_sizes", "max_seq_lens")}
    sizes = {name: c[name] for name in ("dim", "enc_depth", "dec_depth", "head_dim", "mlp_ratio")}
    options = {**lists, **sizes, "ids": lists["vocab_sizes"], "flags": (0,) * 4, **changed}
    model = MaskedModel(MaskedModelConfig(**options))
    weights = dict(data["state_dict"])
    assert close(model.pos_emb, weights.pop("pos_emb"), 1e-6)
    for name in [name for name in weights if "norm" in name and name.endswith(".bias")]:
        assert not weights.pop(name).any()
    model.load_state_dict(weights)
    return model


def batch_of(data: dict[str, Any]) -> dict[str, Tensor]:
    return {name: x if x.dtype == torch.bool else x.long() for name, x in data["inputs"].items()}


@pytest.fixture
def data(golden: Path) -> dict[str, Any]:
    return load(golden, "multimodal_model")


def test_features_and_logits(data: dict[str, Any]) -> None:
    model, batch, wanted = model_of(data), batch_of(data), data["outputs"]
    given, asked = (
        Places(batch[f"{kind}_positions"], batch[f"{kind}_modalities"], batch[f"{kind}_pad_mask"])
        for kind in ("enc", "dec")
    )
    there = given.pad_mask
    embedded: list[Tensor] = []
    model.enc_norm.register_forward_hook(lambda _, __, output: embedded.append(output))
    context = model.encode(batch["enc_tokens"], given)
    assert close(embedded[0][there], wanted["encoder"][there], 1e-5)
    assert close(model.pos_emb[given.positions][there], wanted["enc_positions_embedded"][there], 1e-6)
    features = model.decode(asked, context)
    assert close(features[asked.pad_mask], wanted["decoder"][asked.pad_mask], 1e-5)
    assert close(model.logits(features)[asked.pad_mask], wanted["logits"][asked.pad_mask], 1e-5)


def test_losses_and_gradients(data: dict[str, Any]) -> None:
    model, batch, wanted = model_of(data), batch_of(data), data["outputs"]
    found = loss_of(model, batch)
    assert close(found.loss, wanted["loss"], 1e-5)
    for number, name in enumerate(model.config.modalities):
        assert close(found.sums[number] / found.counts[number], wanted["loss_per_modality"][name], 1e-5)
    found.loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert abs(parameter.grad.norm().item() - wanted["grad_norms"][name]) < 1e-4 * wanted["grad_norms"][name]
    first = {name: x[:1] for name, x in batch.items()}
    of_first = loss_of(model, first)
    assert close(of_first.loss, wanted["loss_first_sample"], 1e-5)
    assert of_first.counts[0] == 0  # it counts as 0, and the mean is over all four
    assert close(loss_of(model_of(data, loss="tokens"), batch).loss, wanted["loss_all_tokens"], 1e-5)


def test_training_steps(data: dict[str, Any]) -> None:
    model, batch, wanted = model_of(data), batch_of(data), data["training"]
    groups = model.parameter_groups(wanted["weight_decay"])
    names = {id(p): name for name, p in model.named_parameters()}
    for group, theirs in zip(groups, wanted["groups"], strict=True):
        assert {names[id(p)] for p in group["params"]} == set(theirs["names"])
        assert group["weight_decay"] == theirs["weight_decay"]
    optimizer = torch.optim.AdamW(groups, betas=tuple(wanted["betas"]), eps=wanted["eps"])
    for rate, loss, norm in zip(wanted["lr"].tolist(), wanted["losses"], wanted["grad_norms"], strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        found = loss_of(model, batch).loss
        optimizer.zero_grad()
        found.backward()
        assert torch.nn.utils.clip_grad_norm_(model.parameters(), wanted["clip_grad"]).item() == pytest.approx(
            norm, rel=1e-4
        )
        optimizer.step()
        assert found.item() == pytest.approx(loss, rel=1e-4)
    assert loss_of(model, batch).loss.item() == pytest.approx(wanted["final_loss"], rel=1e-4)


@pytest.mark.parametrize("kind", ["runs", "runs_limited_to_own_vocabulary"])
def test_generation(data: dict[str, Any], kind: str) -> None:
    model, tokens = model_of(data).eval(), data["generation"]["data"]
    for run in data["generation"][kind]:
        options = run["kwargs"]
        sampling = Sampling(options["temp"], options.get("top_k", 0.0), options.get("top_p", 0.0))
        given = {name: tokens[name][None] for name in run["source"]}
        generator = Generator(model, given, run["seed"], within_ids=kind != "runs")
        predicted = generator.generate(Target(run["target"], options["num_steps"], sampling))
        assert step_sizes(predicted.shape[1], options["num_steps"]) == run["schedule"]
        assert torch.equal(predicted, run["predicted"])
        stream = generator.stream
        assert torch.equal(stream.positions[0, -len(run["order"]) :], run["order"])
        assert torch.equal(stream.tokens, run["stream_tokens"])
        assert torch.equal(stream.positions, run["stream_positions"])
        assert torch.equal(stream.modalities, run["stream_modalities"])


@pytest.mark.parametrize("name", ["document_1gpu", "document_4gpu", "tiny", "tiny_no_warmup"])
def test_schedule(golden: Path, name: str) -> None:
    case = load(golden, "multimodal_schedule")[name]
    budget = TokenBudget(case["total"], case["warm"], case["per"], case["batch"] * case["world"])
    assert budget.tokens_per_step == case["tokens_per_iteration"]
    assert (budget.steps, budget.warmup_steps) == (case["total_iterations"], case["warmup_iterations"])
    assert (budget.steps_of(100), budget.steps_of(1000)) == (case["eval_every"], case["save_every"])
    floor = case["min_lr"] / case["lr"]
    rates = [case["lr"] * linear_cosine(i, budget.warmup_steps, budget.steps, floor) for i in range(budget.steps)]
    for step, tokens, rate in zip(case["iterations"], case["tokens_seen"], case["lr_at"], strict=True):
        assert step * budget.tokens_per_step == tokens
        assert rates[step] == pytest.approx(rate.item(), abs=1e-12)
    assert sum(rates) / len(rates) == pytest.approx(case["mean"], abs=1e-12)


def test_size_of_the_documents_model(golden: Path) -> None:
    with torch.device("meta"):
        model = MaskedModel(DOCUMENT)
    count = sum(p.numel() for p in model.parameters())
    tables = sum(m.weight.numel() for m in (model.enc_tok_emb, model.enc_mod_emb, model.dec_mod_emb, model.to_logits))
    assert count == 111_435_264
    assert count - tables == 44_322_304
