"""Finding moments with like motion: the command and its distance."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from tests.policy.tiny import make_data
from tests.tokenizer.test_encode import save_tokenizer
from tokenizer import retrieve
from tokenizer.retrieval import nearest


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("retrieve")
    make_data(root)
    save_tokenizer(root / "tokenizer.safetensors", seed=0)
    return root


def run(root: Path, *options: str) -> dict:
    roots = ["--demos-root", str(root / "demos"), "--tracks-root", str(root / "tracks"), "--out", str(root / "found")]
    retrieve.main([str(root / "tokenizer.safetensors"), "[tiny:traj1]", "[tiny:traj1]", *roots, *options])
    return json.loads((root / "found.json").read_text())


def test_a_moment_that_is_in_the_data_is_nearest_to_itself(root: Path) -> None:
    found = run(root, "--demo", "2", "--second", "0.2", "--count", "3", "--stride", "1")
    assert found["found"][0] == found["sought"]
    assert found["sought"]["second"] == 0.2
    distances = [moment["distance"] for moment in found["found"]]
    assert distances == sorted(distances)
    assert len({(moment["file"], moment["demo"]) for moment in found["found"]}) == 3
    picture = Image.open(root / "found.png")
    assert picture.height > 4 * 190


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--demo", "4"), "there are 4 demonstrations, numbered from 0"), (("--second", "1.5"), r"has 1\.00 s")],
)
def test_a_moment_that_is_not_there_is_refused(root: Path, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(root, *options)


def test_the_nearest_moments_are_of_different_episodes() -> None:
    candidates = np.array([0.0, 0.1, 5.0, 2.0]).reshape(4, 1, 1)
    found = nearest(np.zeros((1, 1)), candidates, np.arange(10, 14), np.array([0, 0, 1, 2]), count=2)
    assert [(moment.frame, moment.distance) for moment in found] == [(10, 0.0), (13, 2.0)]
