"""The instruction in a name, as the published implementation reads it."""

from pathlib import Path

import pytest

from demos.language import language_of


def test_language_agrees_with_golden(golden: Path) -> None:
    torch = pytest.importorskip("torch")
    language = torch.load(golden / "functions.pt", weights_only=True)["language"]
    assert [language_of(name) for name in language["names"]] == language["text"]
