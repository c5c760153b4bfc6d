"""The server's command with a real (random) policy: the same actions as in process, and an orderly end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from common.errors import UserError
from policy import load_policy
from policy.amplify import Amplify
from policy.bundle import save_bundle
from policy.forward_dynamics import ForwardConfig
from policy.inverse_dynamics import InverseConfig
from policy.remote import RemotePolicy
from policy.text import TextConfig
from policy.vision import VisionConfig
from robot_bridge.serve import check_bind, is_local, main, openpi_host
from tokenizer.tracks.model import TokenizerConfig

ROOT = Path(__file__).parents[2]


def random_bundle(path: Path) -> Path:
    """The smallest whole policy, with random weights."""
    torch.manual_seed(0)
    tokens = TokenizerConfig(
        num_tracks=16, img_shape=(32, 32), hidden_dim=32, num_heads=2, codebook_size=64, decoder_mlp_hidden_dim=16
    )
    vision = VisionConfig(name="small", image_size=32, embed_dim=16, channels=(8, 8), keypoints=4)
    words = TextConfig(name="words", buckets=64, width=32, num_heads=2)
    forward = ForwardConfig(num_layers=1, num_heads=2, vision_encoder=vision, text_encoder=words)
    inverse = InverseConfig(num_layers=1, num_heads=2, vision_encoder=vision, text_encoder=words)
    save_bundle(Amplify(tokens, forward, inverse, name="tiny"), path)
    return path


def test_a_network_address_needs_protection():
    assert is_local("tcp://127.0.0.1:5555")
    assert is_local("tcp://[::1]:5555")
    assert is_local("ipc://policy.socket")
    for bind in ("tcp://*:5555", "tcp://0.0.0.0:5555", "tcp://192.168.1.2:5555", "tcp://eth0:5555", "tcp://[::]:5555"):
        assert not is_local(bind)
        with pytest.raises(UserError, match="--insecure"):
            check_bind(bind, protected=False, forced=False)
        check_bind(bind, protected=True, forced=False)
        check_bind(bind, protected=False, forced=True)


def test_openpi_s_clients_on_other_machines_need_a_token():
    assert openpi_host("tcp://127.0.0.1:5555", None, False) == "127.0.0.1"
    assert openpi_host("ipc://policy.socket", None, False) == "127.0.0.1"
    with pytest.raises(UserError, match="need a token"):
        openpi_host("tcp://0.0.0.0:5555", None, False)
    assert openpi_host("tcp://0.0.0.0:5555", "key", False) == "0.0.0.0"
    assert openpi_host("tcp://*:5555", None, True) == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--bind", "tcp://127.0.0.1:99999"],
        ["--bind", "tcp://[::1]"],
        ["--bind", "tcp://::1:5555"],
        ["--bind", "127.0.0.1:5555"],
        ["--bind", "http://127.0.0.1:5555"],
        ["--bind", ""],
        ["--threads", "0"],
        ["--max-batch", "0"],
        ["--max-wait-ms", "nan"],
        ["--grace", "-1"],
        ["--metrics-port", "70000"],
        ["--openpi", "70000"],
        ["--device", "none"],
        ["--rename", "arm=leg"],
        ["--checkpoint", "nowhere.safetensors"],
        ["--unheard-of"],
    ],
    ids=" ".join,
)
def test_a_mistake_on_the_command_line_is_named(arguments: list[str]):
    with pytest.raises(UserError, match=re.escape(arguments[0]) + "|no checkpoint at nowhere"):
        main(arguments)


def test_a_port_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match="cannot listen on"):
            main(["--bind", f"tcp://127.0.0.1:{port}"])
        with pytest.raises(UserError, match="--metrics-port"):
            main(["--bind", "tcp://127.0.0.1:*", "--metrics-port", str(port)])


def test_a_served_bundle_acts_like_the_bundle(tmp_path: Path):
    bundle = random_bundle(tmp_path / "policy.safetensors")
    address = f"ipc://{tmp_path}/policy"
    command = ["-m", "robot_bridge.serve", "--checkpoint", str(bundle), "--bind", address, "--max-batch", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    try:
        assert server.stderr is not None
        ready = next(event for event in map(json.loads, server.stderr) if event["event"] == "ready")
        local, remote = load_policy(bundle, threads=1), RemotePolicy(address, timeout=60)
        assert ready["policy"]["hash"] == local.describe()["hash"] == remote.describe()["hash"]
        assert (remote.views, remote.image_size) == (tuple(local.views), tuple(local.image_size))
        rng = np.random.default_rng(0)
        height, width = local.image_size
        images = rng.integers(0, 256, (1, len(local.views), height, width, 3), dtype=np.uint8)
        proprio = rng.normal(size=(1, 9)).astype(np.float32)
        np.testing.assert_array_equal(
            remote.act(images, proprio, ["pick up the milk"]), local.act(images, proprio, ["pick up the milk"])
        )
        indices, _ = remote.predict_codes(images, ["pick up the milk"])
        np.testing.assert_array_equal(indices, local.predict_codes(images, ["pick up the milk"])[0])
        remote.close()
        server.send_signal(signal.SIGTERM)
        assert server.wait(120) == 0  # mostly the time torch takes to go
        assert json.loads(server.stderr.readlines()[-1])["event"] == "stopped"
    finally:
        server.kill()
        server.wait()
