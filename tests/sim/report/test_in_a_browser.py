"""Evaluation reports in a browser, from disk: nothing in the console, no request that leaves the folder."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sim.report.examples import NOT_FILMED


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


def press(browser: Any, *keys: str) -> None:
    """Keys for whatever has the focus."""
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def seen(browser: Any, css: str) -> list[Any]:
    """Elements that are not folded away."""
    return [node for node in browser.find_elements("css selector", css) if node.is_displayed()]


def test_the_keys_on_the_hint_work_wherever_one_has_clicked(browser: Any, folder: Path):
    from selenium.webdriver.common.keys import Keys

    visit(browser, f"{folder}/one/index.html")
    browser.find_elements("css selector", ".card")[7].click()
    film = lambda name: browser.execute_script(f"return document.querySelector('.screen video').{name}")  # noqa: E731
    text = lambda name: browser.find_element("id", name).text  # noqa: E731
    is_open = lambda: browser.execute_script("return document.getElementById('player').open")  # noqa: E731
    wait_until(lambda: film("currentTime") > 0)
    press(browser, Keys.SPACE)
    wait_until(lambda: film("paused"))
    assert is_open()
    press(browser, Keys.HOME)
    wait_until(lambda: text("now").startswith("step 0 "))
    press(browser, Keys.ARROW_LEFT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    wait_until(lambda: text("now").startswith("step 3 "))
    press(browser, Keys.END)
    wait_until(lambda: text("now").startswith("step 40 of 40"))
    for clicked in ("next", "overlay"):
        browser.find_element("id", clicked).click()
        title = text("name")
        press(browser, Keys.HOME)
        wait_until(lambda: text("now").startswith("step 0 ") and film("paused"))
        press(browser, Keys.SPACE)
        wait_until(lambda: film("currentTime") > 0.2)
        assert is_open()
        assert text("name") == title
    focused = lambda: browser.execute_script("return document.activeElement.id")  # noqa: E731
    for _ in range(20):  # who walks to a button means that button
        if focused() != "close":
            press(browser, Keys.TAB)
    assert focused() == "close"
    press(browser, Keys.SPACE)
    wait_until(lambda: not is_open())
    assert_quiet(browser, folder / "one")


def test_many_episodes_are_folded_by_suite_and_task(browser: Any, folder: Path):
    visit(browser, f"{folder}/many/index.html")
    goal, milk = seen(browser, "#groups summary")
    assert seen(browser, ".card") == []
    assert goal.text.endswith("5 of 20, 25 %")
    assert milk.text.endswith("42 of 57, 74 %, 3 broke")
    milk.click()
    first, second = seen(browser, "#groups details details summary")
    assert "pick up the milk" in first.text
    second.click()
    cards = wait_until(lambda: seen(browser, ".card"))
    assert len(cards) == 30
    assert "broke" in cards[0].text
    second.click()
    wait_until(lambda: not seen(browser, ".card"))
    browser.find_element("id", "unfold").click()
    assert len(wait_until(lambda: seen(browser, ".card"))) == 80
    browser.find_element("id", "unfold").click()
    wait_until(lambda: not seen(browser, ".card"))
    assert len(seen(browser, "#groups summary")) == 2
    assert_quiet(browser, folder / "many")


def test_a_mark_plays_its_episode_and_leaving_shows_its_card(browser: Any, folder: Path):
    visit(browser, f"{folder}/many/index.html")
    seen(browser, "#groups summary")[1].click()
    mark = seen(browser, ".strip i[title^='episode 4:']")[0]
    assert mark.get_attribute("title") == "episode 4: failure"
    mark.click()
    assert "libero_object 0, episode 4:" in browser.find_element("id", "name").text
    browser.find_element("id", "close").click()
    wait_until(lambda: "episode 4" in browser.execute_script("return document.activeElement.textContent"))
    assert_quiet(browser, folder / "many")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", 80),
        ("drawer", 20),
        ("milk failure", 15),
        ("DRAWER success", 5),
        ("episode 7", 3),
        ("goal 7", 1),
        ("state 49", 0),
        ("goal milk", 0),
    ],
)
def test_a_search_finds_words_and_whole_numbers(browser: Any, folder: Path, words: str, found: int):
    visit(browser, f"{folder}/many/index.html")
    browser.find_element("id", "search").send_keys(words)
    assert browser.find_element("id", "count").text == f"{found} of 80 episodes"
    assert len(seen(browser, ".card")) == (found if found <= 24 else 0)  # few are unfolded at once
    assert_quiet(browser, folder / "many")


@pytest.mark.parametrize("name", ["one", "two", "many"])
def test_all_numbers_can_be_seen_on_a_narrow_screen(browser: Any, folder: Path, name: str):
    phone = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        visit(browser, f"{folder}/{name}/index.html")
        browser.find_element("id", "unfold").click()
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
        places = browser.execute_script(
            "return [...document.querySelectorAll('td.number:not(:empty), .score, .card strong')].map((node) => {"
            "  const text = document.createRange(); text.selectNodeContents(node);"
            "  const { left, right, height } = text.getBoundingClientRect(); return [left, right, height]; })"
        )
        shown = [(left, right) for left, right, height in places if height > 0]
        assert len(shown) > 20
        assert all(left >= 0 and right <= 400 for left, right in shown)
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_an_episode_without_a_film_shows_how_it_ended(browser: Any, folder: Path):
    visit(browser, f"{folder}/one/index.html#libero_object-{NOT_FILMED % 2}-{NOT_FILMED // 2}")
    picture = wait_until(lambda: browser.find_elements("css selector", ".screen img"))[0]
    wait_until(lambda: browser.execute_script("return arguments[0].naturalWidth", picture) == 128)
    assert "not filmed" in browser.find_element("id", "players").text
    assert not browser.find_element("id", "toggle").is_displayed()
    assert_quiet(browser, folder / "one")
