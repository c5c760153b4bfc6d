"""What trainers compute in."""

import pytest
import torch

from training.config import TrainingConfig


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx2": True}, "32-true"), ({"avx512_bf16": True}, "bf16-mixed"), ({"amx_bf16": True}, "bf16-mixed")],
)
def test_a_cpu_computes_in_bfloat16_only_where_it_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    config = TrainingConfig(run_name="run", train_datasets=(), accelerator="cpu")
    assert config.effective_precision == expected


def test_a_precision_that_was_asked_for_is_kept() -> None:
    config = TrainingConfig(run_name="run", train_datasets=(), accelerator="cpu", precision="bf16-mixed")
    assert config.effective_precision == "bf16-mixed"
