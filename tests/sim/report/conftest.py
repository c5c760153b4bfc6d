"""Reports that are only looked at, and the browser to look at them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sim.report import __main__ as report
from sim.report.evaluation_page import write_evaluation
from tests.sim.report.examples import make_many, make_results


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports of one evaluation (``one``) and of two (``two``), each of 20 episodes, and one of ``many``."""
    root = tmp_path_factory.mktemp("reports")
    first = make_results(root / "first", "first", lambda number: number % 4 != 0)
    second = make_results(root / "second", "second", lambda number: number % 4 == 1)
    write_evaluation([first], root / "one")
    write_evaluation([make_many(root / "many-results", first)], root / "many")
    report.main([str(first.path), str(second.path.parent), "--out", str(root / "two")])
    return root


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium that records its console and every request."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not installed (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "window-size=1200,900",
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()
