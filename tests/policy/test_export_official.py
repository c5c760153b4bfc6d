"""Published files in and out again: nothing is lost on the way, and nothing in them is run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from common.errors import UserError
from policy import export_official, import_official, info
from policy.bundle import save_bundle
from policy.export_official import published_bundle
from policy.import_official import convert
from policy.load import bundle_config
from tests.policy.test_published import Runs, vision  # noqa: F401 (a fixture)
from tests.policy.tiny import make_policy
from tests.tokenizer.golden import load
from training import checkpoint

HEADS = ("gaussian", "diffusion", "flow")


def names(config: dict[str, Any], prefix: str = "") -> set[str]:
    """Dotted names of everything in a nested config."""
    found = {prefix + name for name in config}
    for name, value in config.items():
        found |= names(value, f"{prefix}{name}.") if isinstance(value, dict) else set()
    return found


def with_head(golden: Path, head: str, path: Path) -> Path:
    """The published bundle with another action head, as a file at ``path``."""
    bundle, part = load(golden, "bundle_gaussian"), load(golden, f"ckpt_inverse_dynamics_{head}")
    kept = {name: w for name, w in bundle["model"].items() if not name.startswith("inverse_dynamics.")}
    bundle["model"] = kept | {f"inverse_dynamics.{name}": w for name, w in part["model"].items()}
    bundle["config"]["inverse_dynamics_cfg"] = part["config"]
    torch.save(bundle, path)
    return path


def assert_same_file(before: dict[str, Any], after: dict[str, Any]) -> None:
    """The same names in model and config, weights of the same types and values."""
    assert after["model"].keys() == before["model"].keys()
    for name, tensor in before["model"].items():
        assert after["model"][name].dtype == tensor.dtype, name
        tolerance = 1e-6 if name.endswith((".inv_freq", ".pe")) else 0.0
        torch.testing.assert_close(after["model"][name], tensor, rtol=tolerance, atol=tolerance, msg=name)
    assert names(after["config"]) == names(before["config"])


@pytest.mark.parametrize("head", HEADS)
def test_golden_bundle_imported_exported_and_imported_again_is_the_same(
    golden: Path, tmp_path: Path, head: str
) -> None:
    original = with_head(golden, head, tmp_path / "original.pt")
    ours, published = tmp_path / "ours.safetensors", tmp_path / "again.pt"
    import_official.main([str(original), "--out", str(ours)])
    export_official.main([str(ours), str(published)])
    assert_same_file(torch.load(original, weights_only=True), torch.load(published, weights_only=True))

    first, second = convert(original), convert(published)
    assert bundle_config(first) | {"name": ""} == bundle_config(second) | {"name": ""}
    weights = second.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in first.state_dict().items())


@torch.no_grad()
def test_golden_codes_that_there_are_not_stay_impossible_where_nothing_masks_them(golden: Path, tmp_path: Path) -> None:
    policy = convert(golden / "bundle_gaussian.pt")
    forward = policy.forward_dynamics
    forward.config = replace(forward.config, mask_codes=True)
    forward.unembed.masked = True  # type: ignore[assignment]
    forward.unembed.bias[forward.quantize.num_codes :] = 1e3
    torch.save(published_bundle(policy), tmp_path / "published.pt")
    again = convert(tmp_path / "published.pt").forward_dynamics
    condition = torch.randn(4, forward.trunk.length - forward.num_codes, forward.sos_token.shape[-1])
    assert torch.equal(again.predict(condition), forward.predict(condition))


def test_what_the_published_code_does_not_know_is_not_written(tmp_path: Path) -> None:
    save_bundle(make_policy(), tmp_path / "tiny.safetensors")
    with pytest.raises(UserError, match="one frozen vision encoder for both"):
        export_official.main([str(tmp_path / "tiny.safetensors"), str(tmp_path / "tiny.pt")])
    assert not (tmp_path / "tiny.pt").exists()


@pytest.mark.parametrize("name", ["motion_tokenizer", "forward_dynamics", *(f"inverse_dynamics_{h}" for h in HEADS)])
def test_golden_parts_become_checkpoints_of_ours_and_published_ones_again(
    golden: Path,
    vision: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    path, kind = golden / f"ckpt_{name}.pt", "_".join(name.split("_")[:2])
    ours, published, again = (tmp_path / file for file in ("ours.safetensors", "again.pt", "again.safetensors"))
    beside = ["--tokenizer", str(golden / "ckpt_motion_tokenizer.pt"), "--vision_weights", str(vision)]
    import_official.main([str(path), "--out", str(ours), *beside])
    info.main([str(ours)])
    assert f"imported from {path.name}" in capsys.readouterr().out
    export_official.main([str(ours), str(published)])
    before, after = load(golden, path.stem), torch.load(published, weights_only=True)
    assert after.keys() == before.keys()
    assert_same_file(before, after)

    import_official.main([str(published), "--out", str(again), *beside])
    first, second = checkpoint.read(ours, kind), checkpoint.read(again, kind)
    assert first.config == second.config
    assert first.weights.keys() == second.weights.keys()
    assert all(torch.equal(second.weights[name], first.weights[name]) for name in first.weights)


def test_dynamics_need_their_tokenizer(golden: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--tokenizer FILE"):
        import_official.main([str(golden / "ckpt_forward_dynamics.pt"), "--out", str(tmp_path / "x.safetensors")])


def test_golden_bundle_damaged_in_any_way_is_refused_and_nothing_written(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, path, out = load(golden, "bundle_gaussian"), tmp_path / "bad.pt", tmp_path / "out.safetensors"

    def refused(message: str) -> None:
        with pytest.raises(UserError, match=message):
            import_official.main([str(path), "--out", str(out)])
        assert not out.exists()

    path.write_bytes((golden / "bundle_gaussian.pt").read_bytes()[:100_000])
    refused("cannot be read safely")
    path.write_bytes(b"not a checkpoint")
    refused("cannot be read safely")
    torch.save(whole | {"metadata": Runs()}, path)
    refused("cannot be read safely")
    assert "code was run" not in capsys.readouterr().out
    model = dict(whole["model"])
    torch.save(whole | {"model": {**model, "forward_dynamics.sos_token": torch.zeros(1, 1, 63)}}, path)
    refused(r"sos_token has shape \(1, 1, 63\), its config says \(1, 1, 64\)")
    del model["forward_dynamics.sos_token"]
    torch.save(whole | {"model": model}, path)
    refused(r"lacks the weight forward_dynamics.sos_token")
    torch.save(
        whole | {"model": whole["model"] | {"forward_dynamics.sos_token": torch.full((1, 1, 64), torch.nan)}}, path
    )
    refused(r"what is no number in forward_dynamics\.sos_token")
    torch.save({"config": {"a": 1}, "model": {}}, path)
    refused("its config is of none of its models")
    save_file({"x": torch.zeros(1)}, path)
    refused("cannot be read safely")
