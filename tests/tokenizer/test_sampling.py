"""Choosing tokens: which are kept, which is drawn, and how likely it was."""

from pathlib import Path

import pytest
import torch

from common.errors import UserError
from tests.tokenizer.golden import close, load
from tokenizer.sampling import Sampling


def test_golden_draws_and_their_probabilities(golden: Path) -> None:
    data = load(golden, "multimodal_model")["sampling"]
    for case in data["cases"]:
        ids, probabilities = Sampling(**case["kwargs"])(data["logits"], torch.Generator().manual_seed(case["seed"]))
        assert torch.equal(ids, case["samples"])
        assert close(probabilities, case["probabilities"], 1e-5)


@pytest.mark.parametrize("name", ["k10", "k100", "ties_k2", "p9", "k10p5"])
def test_golden_kept_logits(golden: Path, name: str) -> None:
    data = load(golden, "functions")["top_k_top_p"]
    case = data["cases"][name]
    kept = Sampling(**case["kwargs"]).kept(case.get("input", data["logits"]))
    assert torch.equal(kept, case["output"])


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(UserError, match="top_p is 2"):
        Sampling(1.0, top_p=2)
    with pytest.raises(UserError, match=r"top_k is 2.5"):
        Sampling(1.0, top_k=2.5)
    with pytest.raises(UserError, match="temperature is -1"):
        Sampling(-1.0)
