"""Evaluation and training reports: right numbers, no missing files, and a page that works in a browser, from disk."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from sim import eval as evaluation
from sim.evaluation.comparison import Comparison, compare, paired, sign_test
from sim.evaluation.prediction_log import PredictedTracks, PredictionLog, tracks_path
from sim.evaluation.replay import replay_command
from sim.evaluation.results import EpisodeResult, EvaluationSettings, Results
from sim.evaluation.worker import Job, Observation, video_path
from sim.pictures.video import VideoWriter
from sim.report import __main__ as report
from sim.report.evaluation_page import write_evaluation
from sim.report.training_page import write_training
from tests.sim.examples import ShiftsRight, save_untrained_bundle

SETTINGS = EvaluationSettings(
    "shifts right 0123", 0, "open loop, 8 steps", False, None, 10, False, "abc", "3.3.2", "1.4.0"
)
COMMAND = "python -m sim.eval --suite libero_object --checkpoint 'my policy.safetensors' --seed 7 --report"
REPLAY = ["--checkpoint", "my policy.safetensors", "--seed", "7"]
STEPS, FRAMES = 40, 21


def make_results(folder: Path, name: str, succeeds: Callable[[int], bool], episodes: int = 20) -> Results:
    """An evaluation of two tasks with ``episodes`` episodes in all, filmed and with predictions, number 3 broken."""
    policy = ShiftsRight()
    about = policy.describe() | {"name": name, "views": list(policy.views)}
    context = {"command": COMMAND, "replay": REPLAY, "policy": about, "versions": {"mujoco": "3.3.2"}}
    results = Results(folder / "results.json", SETTINGS, context)
    log = PredictionLog(policy, folder / "videos")
    for number in range(episodes):
        task, episode = number % 2, number // 2
        key = ("libero_object", task, episode)
        error = "Traceback: the arm <b>exploded</b>" if number == 3 else None
        ended = EpisodeResult(
            *key[:2], "pick_up_the_milk_and_place_it_in_the_basket", episode, episode, 7 + episode,
            not error and succeeds(number), 0 if error else STEPS, 1.5, error,
        )  # fmt: skip
        if not error:
            _film(video_path(folder / "videos", key, ended.success))
            for step in range(0, STEPS, 8):
                seen = Observation(np.zeros((2, 32, 32, 3), np.uint8), np.zeros(9), "x", step)
                log.record([(Job(*key, seed=0), seen)])
        log.save(ended)
        results.episodes[ended.key] = ended
    results.save()
    return results


def _film(path: Path) -> None:
    writer = VideoWriter(path, 10)
    for frame in range(FRAMES):
        writer.add(np.full((64, 128, 3), 5 * frame, np.uint8))
    writer.keep(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports of one evaluation (``one``) and of two (``two``), each of 20 episodes."""
    root = tmp_path_factory.mktemp("reports")
    first = make_results(root / "first", "first", lambda number: number % 4 != 0)
    second = make_results(root / "second", "second", lambda number: number % 4 == 1)
    write_evaluation([first], root / "one")
    report.main([str(first.path), str(second.path.parent), "--out", str(root / "two")])
    return root


def data_of(page: Path) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert match is not None
    return json.loads(match[1])


def test_the_sign_test_is_the_exact_binomial_one():
    assert sign_test(10, 0) == pytest.approx(2 / 2**10)
    assert sign_test(0, 5) == pytest.approx(2 / 2**5)
    assert sign_test(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert sign_test(4, 4) == 1


def test_pairs_are_the_same_task_and_initial_state_and_not_broken(tmp_path: Path):
    first = make_results(tmp_path / "a", "a", lambda number: number % 2 == 0, episodes=6)
    second = make_results(tmp_path / "b", "b", lambda number: number < 2, episodes=5)
    pairs = paired(first, second)
    assert [a.key == b.key and a.init_state == b.init_state for a, b in pairs] == [True] * 4
    assert compare(pairs) == Comparison(both=1, only_first=2, only_second=1, neither=0)


def test_failures_come_first_and_everything_named_exists(folder: Path):
    episodes = data_of(folder / "one" / "index.html")["episodes"]
    assert len(episodes) == 20
    assert [e["runs"][0]["outcome"] for e in episodes] == ["failure"] * 5 + ["error"] + ["success"] * 14
    for episode in episodes:
        run = episode["runs"][0]
        files = [run[name] for name in ("video", "poster", "tracks") if name in run]
        assert len(files) == (0 if run["error"] else 3)
        assert all((folder / "one" / file).stat().st_size > 0 for file in files)


def test_the_page_shows_the_numbers_of_the_results(folder: Path):
    page = (folder / "one" / "index.html").read_text()
    assert "14 of 19" in page
    assert "73.7%" in page
    assert "(1 broke)" in page
    assert "51% to 88%" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert "<b>exploded" not in page


def test_the_comparison_counts_pairs_and_their_p_value(folder: Path):
    page = (folder / "two" / "index.html").read_text()
    assert "19 pairs with the same initial state; 9 end differently, 9 for first and 0 for second" in page
    assert f"p = {2 / 2**9:.3f}" in page
    assert "<strong>first</strong> is better" in page
    assert [e["runs"][0]["outcome"] for e in data_of(folder / "two" / "index.html")["episodes"]][:9] == ["success"] * 9


def test_the_command_replays_that_very_episode(folder: Path):
    results = Results.load(folder / "first" / "results.json")
    command = replay_command(results, results.episodes["libero_object", 1, 4])
    assert command == (
        "python -m sim.eval --checkpoint 'my policy.safetensors' --seed 7 --suite libero_object --tasks 1 --first 4 "
        "--episodes 1 --report"
    )


def test_what_is_kept_and_shown_are_the_numbers_that_the_policy_returned(folder: Path):
    video = video_path(folder / "first" / "videos", ("libero_object", 1, 0), success=True)
    kept = PredictedTracks.load(tracks_path(video))
    assert kept.steps.tolist() == [0, 8, 16, 24, 32]
    assert (kept.points[0] == ShiftsRight().predict_traj(np.zeros(1), kept.points[:1, :, :1], ["x"])[0]).all()
    packed = kept.packed()
    assert packed["counts"] == [[1, 1]] * 5  # one point of four moves

    import base64
    import gzip

    numbers = np.frombuffer(gzip.decompress(base64.b64decode(packed["data"])), "<i2")
    first = numbers[: 16 * 2].reshape(16, 2).astype(int).cumsum(0) / packed["scale"]
    assert np.abs(first - kept.points[0, 0, :, 0]).max() <= 0.5 / packed["scale"]


def test_an_evaluation_writes_its_report(libero_assets: Path, tmp_path: Path):
    save_untrained_bundle(tmp_path / "policy.safetensors")
    command = ["--checkpoint", str(tmp_path / "policy.safetensors"), "--suite", "libero_object", "--tasks", "0"]
    command += ["--first", "3", "--episodes", "1", "--max-steps", "9", "--workers", "1", "--report"]
    assert evaluation.main([*command, "--assets", str(libero_assets), "--out", str(tmp_path / "out")]) == 0
    (episode,) = data_of(tmp_path / "out" / "report" / "index.html")["episodes"]
    assert (episode["episode"], episode["runs"][0]["init_state"], episode["runs"][0]["steps"]) == (3, 3, 9)
    kept = PredictedTracks.load(next((tmp_path / "out" / "videos").glob("*.tracks.npz")))
    assert kept.steps.tolist() == [0, 8]
    assert kept.points.shape == (2, 2, 16, 4, 2)


def test_an_episode_that_begins_anew_forgets_its_predictions(tmp_path: Path):
    log = PredictionLog(ShiftsRight(), tmp_path)
    job, images = Job("libero_object", 0, 0, seed=0), np.zeros((2, 32, 32, 3), np.uint8)
    for step in (0, 8, 0, 4, 8):  # 4 is too close to be kept
        log.record([(job, Observation(images, np.zeros(9), "x", step))])
    video = video_path(tmp_path, job.key, success=False)
    _film(video)
    log.save(EpisodeResult("libero_object", 0, "name", 0, 0, 0, False, 9, 1.0))
    assert PredictedTracks.load(tracks_path(video)).steps.tolist() == [0, 8]
    log.save(EpisodeResult("libero_object", 0, "name", 1, 1, 1, False, 9, 1.0))


def test_wrong_inputs_are_named(tmp_path: Path):
    with pytest.raises(UserError, match="cannot read"):
        report.main([str(tmp_path / "absent.json")])
    with pytest.raises(UserError, match="or two to compare"):
        report.main([])
    with pytest.raises(UserError, match="no training run at"):
        report.main(["--train", str(tmp_path / "absent")])
    with pytest.raises(UserError, match="holds no TensorBoard files"):
        report.main(["--train", str(tmp_path)])
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(UserError, match="is not a results file"):
        report.main([str(tmp_path)])


def test_a_training_run_becomes_one_page(tmp_path: Path):
    board = pytest.importorskip("torch.utils.tensorboard", reason="TensorBoard is not installed")
    with board.SummaryWriter(str(tmp_path)) as writer:
        for step in range(5):
            writer.add_scalar("loss", 5 - step, step)
            writer.add_scalar("val/delta_auc", step / 5, step)
        writer.add_image("overlay", np.zeros((3, 8, 8), np.uint8), 4)
    (tmp_path / "log.txt").write_text("step 4 <done>\n")
    page = write_training(tmp_path, tmp_path / "report").read_text()
    assert "loss: 1 at the end" in page
    assert "val/delta_auc: 0.8 at the end" in page
    assert "data:image/png;base64," in page
    assert "step 4 &lt;done&gt;" in page


def test_a_tokenizer_shows_what_it_makes_of_held_out_motion(tmp_path: Path):
    from tests.policy.tiny import common, latest, make_data, tokenizer_overrides
    from tokenizer import train

    make_data(tmp_path, tasks=1, steps=12)
    train.main([*tokenizer_overrides(), *common(tmp_path, max_steps=2)])
    run = latest(tmp_path, "motion_tokenizer").parent
    page = write_training(run, tmp_path / "report").read_text()
    assert page.count("open drawer number 0: true, decoded of each view") == 2 * 4  # as alternative text and caption
    shutil.rmtree(tmp_path / "demos")
    assert "No pictures of decoded motion" in write_training(run, tmp_path / "report").read_text()


# ---- in a browser


@pytest.fixture(scope="module")
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


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """What ``condition`` gives once it is true; a busy machine may take its time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return value


def visit(browser: Any, address: Path | str) -> None:
    """Open a page from disk; what was logged before is forgotten."""
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(f"file://{address}")


def assert_quiet(browser: Any, folder: Path) -> None:
    """No console message at all, and no request for anything outside ``folder``."""
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    # The rest is Chromium's own first tab.
    urls = [request["request"]["url"] for request in sent if request["documentURL"].startswith("file:")]
    assert urls
    assert all(url.startswith((f"file://{folder}/", "data:", "blob:")) for url in urls), urls


def lit(browser: Any) -> int:
    """Pixels of the overlay that something is drawn on; read from a copy, because reading slows a canvas down."""
    return browser.execute_script(
        "const from = document.querySelector('.screen canvas');"
        "if (!from.width) return 0;"
        "const copy = new OffscreenCanvas(from.width, from.height);"
        "const pen = copy.getContext('2d', {willReadFrequently: true});"
        "pen.drawImage(from, 0, 0);"
        "const data = pen.getImageData(0, 0, from.width, from.height).data;"
        "return data.filter((value, place) => place % 4 === 3 && value > 0).length;"
    )


def test_an_episode_plays_with_its_predicted_motion(browser: Any, folder: Path):
    from selenium.webdriver.common.keys import Keys

    one = folder / "one"
    visit(browser, f"{one}/index.html")
    find = lambda css: browser.find_element("css selector", css)  # noqa: E731
    cards = browser.find_elements("css selector", ".card")
    assert len(cards) == 20
    assert "failure" in cards[0].text
    assert wait_until(lambda: browser.execute_script("return document.querySelector('.card img').naturalWidth")) == 128
    cards[0].click()
    video = "return document.querySelector('.screen video')"
    early = wait_until(lambda: browser.execute_script(f"{video}.currentTime"))
    wait_until(lambda: browser.execute_script(f"{video}.currentTime") > early)
    wait_until(lambda: lit(browser) > 20)
    browser.execute_script(
        "const s = document.getElementById('step'); s.value = 20; s.dispatchEvent(new Event('input'));"
    )
    wait_until(lambda: abs(browser.execute_script(f"{video}.currentTime") - 1.05) < 0.01)
    wait_until(lambda: find("#now").text == "step 20 of 40, 1.00 s")
    assert browser.execute_script(f"{video}.paused")
    find("#overlay").click()
    wait_until(lambda: lit(browser) == 0)
    assert "--first 0 --episodes 1" in find("pre").get_attribute("textContent")

    title = find("#name").text
    find("#close").send_keys("n")
    wait_until(lambda: find("#name").text != title)
    find("#close").send_keys(Keys.ESCAPE)
    wait_until(lambda: not browser.execute_script("return document.getElementById('player').open"))
    assert_quiet(browser, one)


def test_an_episode_has_an_address(browser: Any, folder: Path):
    visit(browser, f"{folder}/two/index.html#libero_object-1-4")
    wait_until(lambda: "libero_object 1, episode 4" in browser.find_element("id", "name").text)
    browser.find_element("id", "next").click()
    wait_until(lambda: "#libero_object-1-4" not in browser.current_url)
    browser.find_element("id", "close").click()
    wait_until(lambda: browser.current_url.endswith("index.html#"))
    assert_quiet(browser, folder / "two")


def test_episodes_are_filtered(browser: Any, folder: Path):
    from selenium.webdriver.support.select import Select

    visit(browser, f"{folder}/one/index.html")
    Select(browser.find_element("id", "outcome")).select_by_visible_text("failures")
    cards = browser.find_elements("css selector", ".card")
    assert len(cards) == 5
    assert all("failure" in card.text for card in cards)
    assert browser.find_element("id", "count").text == "5 of 20 episodes"
    Select(browser.find_element("id", "outcome")).select_by_visible_text("all")
    Select(browser.find_element("id", "task")).select_by_value("libero_object 1")
    assert len(browser.find_elements("css selector", ".card")) == 10
    assert_quiet(browser, folder / "one")


def test_two_evaluations_play_side_by_side(browser: Any, folder: Path):
    from selenium.webdriver.support.select import Select

    visit(browser, f"{folder}/two/index.html")
    assert "Sign test: p = 0.004" in browser.find_element("id", "comparison").text
    Select(browser.find_element("id", "outcome")).select_by_value("first")
    cards = browser.find_elements("css selector", ".card")
    assert len(cards) == 9
    cards[0].click()
    videos = "return [...document.querySelectorAll('.screen video')].map((video) => video.currentTime)"
    wait_until(lambda: all(browser.execute_script(videos)))
    assert len(browser.execute_script(videos)) == 2
    assert_quiet(browser, folder / "two")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_light_and_dark(browser: Any, folder: Path, scheme: str):
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        for name in ("one", "two"):
            visit(browser, f"{folder}/{name}/index.html")
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
            back, ink = browser.execute_script(
                "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color].map("
                "(c) => c.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0));"
            )
            assert (back > 600) == (scheme == "light")
            assert abs(back - ink) > 500
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_keyboard_alone_opens_and_plays(browser: Any, folder: Path):
    from selenium.webdriver.common.keys import Keys

    visit(browser, f"{folder}/one/index.html")
    card = browser.find_element("css selector", ".card")
    browser.execute_script("arguments[0].focus()", card)
    card.send_keys(Keys.ENTER)
    video = "return document.querySelector('.screen video')"
    wait_until(lambda: browser.execute_script(f"{video}.currentTime") > 0)
    browser.find_element("id", "step").send_keys(Keys.HOME)
    wait_until(lambda: browser.execute_script(f"{video}.paused"))
    browser.find_element("id", "step").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    wait_until(lambda: browser.find_element("id", "now").text.startswith("step 2 "))
    assert_quiet(browser, folder / "one")
