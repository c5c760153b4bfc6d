"""Exported policies: what torch computes, without torch, behind the same commands."""

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from policy import export, load_policy, load_runtime
from policy.bundle import save_bundle
from policy.interface import Policy
from policy.runtimes.onnx_policy import OnnxPolicy
from tests.policy.tiny import SIZE, TRACKS, make_policy

TEXT = ["open it", "close it", "open it"]
WITHOUT_TORCH = """
import importlib.abc, sys
class NoTorch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'onnx', 'safetensors'):
            raise ImportError(name + ' is not installed')
sys.meta_path.insert(0, NoTorch())
"""


def observation(batch: int, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, 2, size, size, 3), dtype=np.uint8)
    return images, rng.normal(size=(batch, 9)).astype(np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "tiny.safetensors"
    save_bundle(make_policy(name="tiny"), path)
    return path


@pytest.fixture(scope="module")
def exported(bundle: Path) -> Path:
    """In int8: its graphs are those of fp32, and more."""
    export.main([str(bundle), "--precision", "int8"])
    return bundle.with_suffix(".onnx")


@pytest.mark.parametrize("size", [SIZE, 48])
def test_an_export_computes_what_torch_computes(bundle: Path, exported: Path, size: int) -> None:
    ours, theirs = load_policy(bundle), load_runtime(exported)
    assert isinstance(theirs, OnnxPolicy)
    assert isinstance(theirs, Policy)
    images, proprio = observation(3, size)
    for one, other in zip(ours.predict_codes(images, TEXT), theirs.predict_codes(images, TEXT), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    start = np.zeros((3, 2, 1, TRACKS, 2), np.float32)
    np.testing.assert_allclose(
        ours.predict_traj(images, start, TEXT), theirs.predict_traj(images, start, TEXT), atol=1e-5
    )
    np.testing.assert_allclose(ours.act(images, proprio, TEXT), theirs.act(images, proprio, TEXT), atol=1e-4)
    np.testing.assert_allclose(ours.act(images, None, TEXT), theirs.act(images, None, TEXT), atol=1e-4)
    ours.blank_codes = theirs.blank_codes = True
    np.testing.assert_allclose(ours.act(images, proprio, TEXT), theirs.act(images, proprio, TEXT), atol=1e-4)


@pytest.mark.parametrize(
    ("forward", "inverse"),
    [
        pytest.param(
            {"code_head": "levels", "codes": "soft"},
            {"type": "diffusion", "diffusion_steps": 10},
            id="diffusion, of means of codes",
        ),
        pytest.param(
            {},
            {"type": "flow", "flow_matching_steps": 5, "normalize_actions": "min_max"},
            id="flow",
            marks=pytest.mark.slow,  # the exporter takes its time
        ),
    ],
)
def test_heads_that_sample_are_exported_too(
    tmp_path: Path, forward: dict[str, object], inverse: dict[str, object]
) -> None:
    bundle = tmp_path / "sampling.safetensors"
    save_bundle(make_policy(forward=forward, inverse=inverse, film=False, share_vision_encoder=True), bundle)
    export.main([str(bundle)])
    policy, exported = load_policy(bundle), OnnxPolicy(bundle.with_suffix(".onnx"))
    images, proprio = observation(3)
    np.testing.assert_array_equal(policy.predict_codes(images, TEXT)[0], exported.predict_codes(images, TEXT)[0])
    acted = [exported.act(images, proprio, TEXT)]
    np.testing.assert_allclose(policy.act(images, proprio, TEXT), acted[0], atol=1e-4)
    policy.sampling_seed = exported.sampling_seed = 1
    acted.append(exported.act(images, proprio, TEXT))
    np.testing.assert_allclose(policy.act(images, proprio, TEXT), acted[1], atol=1e-4)
    exported.sampling_seed = None
    acted += [exported.act(images, proprio, TEXT) for _ in range(2)]
    for one, other in combinations(acted, 2):
        assert np.abs(one - other).max() > 0.1


def test_a_wrong_draft_changes_no_code(exported: Path) -> None:
    policy = OnnxPolicy(exported)
    images, _ = observation(3)
    codes, _ = policy.predict_codes(images, TEXT)
    policy._draft = None
    assert np.array_equal(policy.predict_codes(images, TEXT)[0], codes)
    policy._draft = Stubborn(policy._think)  # type: ignore[assignment]
    assert np.array_equal(policy.predict_codes(images, TEXT)[0], codes)


class Stubborn:
    """Guesses well twice, then badly."""

    def __init__(self, session) -> None:
        self.session, self.calls = session, 0

    def get_inputs(self):
        return self.session.get_inputs()

    def run_with_ort_values(self, names, inputs):
        self.calls += 1
        if self.calls % 3 == 0:
            key = next(iter(inputs))
            inputs = inputs | {key: type(inputs[key]).ortvalue_from_numpy(-inputs[key].numpy())}
        return self.session.run_with_ort_values(names, inputs)


def test_the_runtime_is_chosen_by_name_or_by_path(bundle: Path, exported: Path, tmp_path: Path) -> None:
    assert load_runtime(bundle).describe()["runtime"].startswith("torch")
    told = load_runtime(bundle, "onnx").describe()
    assert told["runtime"].startswith("onnxruntime")
    assert told["precision"] == "int8"
    assert told["name"] == "tiny"
    with pytest.raises(UserError, match="are for --runtime torch"):
        load_runtime(exported, device="cuda")
    with pytest.raises(UserError, match="is an exported policy"):
        load_runtime(exported, "torch")
    alone = tmp_path / "alone.safetensors"
    save_bundle(make_policy(name="other"), alone)
    with pytest.raises(UserError, match=r"python -m policy\.export"):
        load_runtime(alone, "onnx")
    (tmp_path / "alone.onnx").symlink_to(exported)
    with pytest.raises(UserError, match="was exported from another bundle"):
        load_runtime(alone, "onnx")


def test_damaged_exports_are_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no exported policy"):
        OnnxPolicy(tmp_path)
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "think.onnx").write_bytes((exported / "think.onnx").read_bytes()[:5000])
    with pytest.raises(UserError, match=r"think.onnx is damaged"):
        OnnxPolicy(tmp_path)
    (tmp_path / "think.onnx").unlink()
    with pytest.raises(UserError, match=r"lacks think.onnx"):
        OnnxPolicy(tmp_path)
    manifest = json.loads((exported / "policy.json").read_text())
    (tmp_path / "policy.json").write_text(json.dumps(manifest | {"format_version": 9}))
    with pytest.raises(UserError, match="format version 9"):
        OnnxPolicy(tmp_path)
    (tmp_path / "policy.json").write_text("{}")
    with pytest.raises(UserError, match="is damaged"):
        OnnxPolicy(tmp_path)


def test_an_export_does_not_replace_what_is_none(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    with pytest.raises(UserError, match="is no exported policy"):
        export.main([str(bundle), str(tmp_path)])
    assert (tmp_path / "precious").read_text() == "data"


def test_it_acts_and_is_served_where_torch_is_not_installed(bundle: Path, exported: Path, tmp_path: Path) -> None:
    script = WITHOUT_TORCH + SERVE_AND_ASK
    arguments = [sys.executable, "-c", script, str(exported), f"ipc://{tmp_path}/policy", str(tmp_path / "actions.npy")]
    subprocess.run(arguments, check=True, timeout=300)
    images, proprio = observation(2)
    ours = load_policy(bundle).act(images, proprio, TEXT[:2])
    np.testing.assert_allclose(np.load(tmp_path / "actions.npy"), ours, atol=1e-4)


SERVE_AND_ASK = """
import os, signal, threading
import numpy as np
from robot_bridge import serve
from policy.remote import RemotePolicy
folder, address, out = sys.argv[1:]
def ask():
    remote = RemotePolicy(address, timeout=120)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 2, 32, 32, 3), dtype=np.uint8)
    np.save(out, remote.act(images, rng.normal(size=(2, 9)).astype(np.float32), ['open it', 'close it']))
    remote.close()
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=ask).start()
status = serve.main(['--checkpoint', folder, '--bind', address, '--log-level', 'error'])
assert not any(name == 'torch' or name.startswith('torch.') for name in sys.modules)
sys.exit(status)
"""
