"""What all tests share: where LIBERO's assets are on a machine that has them beside the checkout."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)  # a busy machine is not a bug
settings.load_profile("no deadline")

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers whose threads wait for each other's take many times longer

SHARED = Path(__file__).parents[2] / "shared"

if "LIBERO_ASSETS" not in os.environ and (SHARED / "libero-assets").is_dir():
    os.environ["LIBERO_ASSETS"] = str(SHARED / "libero-assets")


@pytest.fixture(scope="session")
def libero_assets() -> Path:
    """The folder of LIBERO's assets; the test is skipped where there is none and the hub would have to be asked."""
    folder = os.environ.get("LIBERO_ASSETS")
    if not folder:
        pytest.skip("LIBERO_ASSETS is not set and ../shared/libero-assets does not exist")
    return Path(folder)


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden data: random weights, inputs and what the published implementation makes of them."""
    folder = SHARED / "reference" / "golden"
    if not folder.is_dir():
        pytest.skip("../shared/reference/golden does not exist")
    return folder
