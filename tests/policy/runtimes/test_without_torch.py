"""Exported policies where torch was never installed: with what ``pip install '.[runtime]'`` brings, and no more."""

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from policy import export, load_policy
from policy.bundle import save_bundle
from policy.remote import RemotePolicy
from tests.policy.tiny import SIZE, make_policy

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
TEXT = ["open it", "close it"]
ACT = """
import importlib.util, sys
import numpy as np
from policy import load_runtime
assert not any(map(importlib.util.find_spec, ("torch", "onnx", "safetensors")))
folder, inputs, out = sys.argv[1:]
given = np.load(inputs)
np.save(out, load_runtime(folder).act(given["images"], given["proprio"], ["open it", "close it"]))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment. What it may install is read from where users' installers read it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["runtime"]]
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *needed], check=True)
    return python


@pytest.mark.parametrize("head", ["gaussian", "diffusion", "flow"])
def test_an_exported_policy_acts_and_is_served(python: Path, tmp_path: Path, head: str) -> None:
    bundle, folder = tmp_path / "tiny.safetensors", tmp_path / "tiny.onnx"
    inverse = {"type": head, "diffusion_steps": 10, "flow_matching_steps": 5}
    save_bundle(make_policy(inverse=inverse, film=False, share_vision_encoder=True), bundle)
    export.main([str(bundle), str(folder)])
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 2, SIZE, SIZE, 3), dtype=np.uint8)
    proprio = rng.normal(size=(2, 9)).astype(np.float32)
    ours = load_policy(bundle).act(images, proprio, TEXT)

    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = alone | {"PYTHONPATH": str(ROOT)}
    np.savez(tmp_path / "inputs.npz", images=images, proprio=proprio)
    arguments = [folder, tmp_path / "inputs.npz", tmp_path / "actions.npy"]
    subprocess.run([python, "-c", ACT, *arguments], check=True, timeout=300, env=environment, cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "actions.npy"), ours, atol=1e-4)

    address = f"ipc://{tmp_path}/policy"
    command = [python, "-m", "robot_bridge.serve", "--checkpoint", folder, "--bind", address]
    server = subprocess.Popen(command, env=environment, cwd=tmp_path)
    try:
        remote = RemotePolicy(address, timeout=120)
        np.testing.assert_allclose(remote.act(images, proprio, TEXT), ours, atol=1e-4)
        remote.close()
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.wait()
