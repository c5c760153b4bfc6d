"""How torch computes a policy: packed and compiled, which changes no code."""

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from policy import load_policy
from policy.bundle import save_bundle
from tests.policy.tiny import SIZE, make_policy


@pytest.mark.slow
def test_a_compiled_policy_chooses_the_same_codes_and_acts_alike(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_bundle(make_policy(film=False, share_vision_encoder=True), path)
    plain, compiled = load_policy(path), load_policy(path, compiled=True)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 2, SIZE, SIZE, 3), dtype=np.uint8)
    proprio, text = rng.normal(size=(3, 9)).astype(np.float32), ["open it", "close it", "open it"]
    assert np.array_equal(compiled.predict_codes(images, text)[0], plain.predict_codes(images, text)[0])
    np.testing.assert_allclose(compiled.act(images, proprio, text), plain.act(images, proprio, text), atol=1e-5)


def test_a_precision_that_there_is_not_is_refused(tmp_path: Path) -> None:
    save_bundle(make_policy(), tmp_path / "tiny.safetensors")
    with pytest.raises(UserError, match="computes in fp32 or bf16, not in int4"):
        load_policy(tmp_path / "tiny.safetensors", precision="int4")
