"""A published bundle, imported, does what every bundle does: it is evaluated, drawn and served."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from demos.text_embeddings import write_text_embedding
from policy import load_policy
from policy.import_official import main
from tests.policy.tiny import make_data
from tests.tokenizer.golden import load


@pytest.fixture(scope="module")
def imported(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published bundle as it comes, without instructions."""
    out = tmp_path_factory.mktemp("imported") / "policy.safetensors"
    main([str(golden / "bundle_gaussian.pt"), "--out", str(out)])
    return out


def test_a_bundle_imported_without_instructions_says_so(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "policy.safetensors"
    main([str(golden / "bundle_gaussian.pt"), "--out", str(out)])
    assert "--text-embeddings DIR" in capsys.readouterr().out
    assert load_policy(out).describe()["instructions"] == []


def test_a_bundle_imported_with_instructions_takes_them_as_text(golden: Path, tmp_path: Path) -> None:
    io = load(golden, "bundle_gaussian_io")
    images, proprio, embeddings = (io["inputs"][name].numpy() for name in ("images", "proprio", "text_emb"))
    for text, embedding in zip(("open it", "close it"), embeddings, strict=True):
        write_text_embedding(tmp_path / "libero_10" / "text" / f"{text}.hdf5", text, embedding)
    out = tmp_path / "policy.safetensors"
    main([str(golden / "bundle_gaussian.pt"), "--out", str(out), "--text-embeddings", str(tmp_path)])
    policy = load_policy(out)
    assert policy.describe()["instructions"] == ["close it", "open it"]
    actions = policy.act(images, proprio, ["open it", "close it"])
    assert np.abs(actions - io["outputs"]["act"].numpy()).max() < 1e-4
    with pytest.raises(UserError, match="no embedding of the instruction 'shut it'; of the 2 it knows the nearest"):
        policy.act(images, proprio, ["open it", "shut it"])


def test_a_folder_without_embeddings_is_refused(golden: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no text embeddings in"):
        main([str(golden / "bundle_gaussian.pt"), "--text-embeddings", str(tmp_path)])


def test_an_imported_bundle_is_evaluated(imported: Path, libero_assets: Path, tmp_path: Path) -> None:
    from sim.eval import main as evaluate

    options = ["--tasks", "0", "--episodes", "1", "--max-steps", "4", "--workers", "1", "--assets", str(libero_assets)]
    assert evaluate(["--checkpoint", str(imported), *options, "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["episodes"][0]["steps"] == 4


def test_an_imported_bundle_is_drawn(imported: Path, tmp_path: Path) -> None:
    from sim.visualize import main as visualize

    make_data(tmp_path, tasks=1, episodes=1, steps=4)
    demonstration = str(tmp_path / "demos" / "tiny" / "task_0_demo.hdf5")
    out = tmp_path / "out"
    visualize(["--demo", demonstration, "--checkpoint", str(imported), "--formats", "png", "--out", str(out)])
    assert (out / "task_0-demo_0" / "sheet.png").stat().st_size > 1000


def test_an_imported_bundle_is_served(imported: Path, tmp_path: Path) -> None:
    from policy.remote import RemotePolicy
    from robot_bridge.server import PolicyServer, warm_up

    policy = load_policy(imported, threads=1)
    warm_up(policy, (1,))
    server = PolicyServer(policy, f"ipc://{tmp_path}/policy")
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        remote = RemotePolicy(server.endpoint, timeout=30)
        images = np.zeros((1, 2, 64, 64, 3), np.uint8)
        actions = remote.act(images, np.zeros((1, 9), np.float32), ["open it"])
        assert np.array_equal(actions, policy.act(images, np.zeros((1, 9), np.float32), ["open it"]))
        remote.close()
    finally:
        server.stop()
        thread.join(30)
