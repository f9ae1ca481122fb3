"""The demo played by clicks, on the page that `app-proxy run` names: phones ring, alerts go, and faults end."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import WIDTHS, Window, window
from tests.system.test_run import Run, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator


@pytest.fixture(scope="module")
def run(browser: "Browser") -> Iterator[Run]:  # no service without a browser
    with tempfile.TemporaryDirectory(prefix="phones-", dir="/tmp") as folder, running(Path(folder) / "state") as it:
        it.until_up()
        yield it


@pytest.fixture
def page(browser: "Browser", run: Run) -> Iterator["PhonesPage"]:
    with window(browser, locale="en") as here:
        here.page.goto(run.address("phones"))
        yield PhonesPage(here)


class PhonesPage:
    def __init__(self, here: Window) -> None:
        self.window, self.page = here, here.page

    def phone(self, name: str) -> "Locator":
        return self.page.get_by_role("article", name=name)

    def alert(self, phone: str, words: str) -> "Locator":
        return self.phone(phone).locator(".alert").filter(has_text=words)

    def badge(self, phone: str) -> int:
        found = re.search(r"Unread: (\d+)", self.phone(phone).inner_text())
        assert found
        return int(found[1])

    def write(self, text: str, to: str = "alice") -> None:
        self.page.get_by_label("bob writes").fill(text)
        self.page.get_by_label("to", exact=True).select_option(to)
        self.page.get_by_role("button", name="Send").click()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def switch(self, name: str, *, on: bool) -> None:
        """By keyboard, and what it says of itself."""
        self.page.get_by_role("switch", name=name).press("Space")
        state = "true" if on else "false"
        self.page.locator(f'[role="switch"][aria-checked="{state}"]').filter(has_text=name).wait_for()

    def has(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for()


def test_bob_writes_and_a_phone_rings_and_a_screen_reader_is_told(page: PhonesPage) -> None:
    page.write("Are you coming?")
    page.alert("alices-iphone", "Are you coming?").wait_for()
    page.page.get_by_role("status").filter(has_text="alices-iphone: bob: Are you coming?").wait_for(state="attached")
    assert page.alert("carols-xiaomi", "Are you coming?").count() == 0
    assert page.window.faults == []


def test_a_group_rings_all_phones_and_a_recall_takes_the_words_away(page: PhonesPage) -> None:
    page.write("Dinner at nine?", "group")
    for phone in ("alices-iphone", "carols-xiaomi", "doras-oppo"):
        page.alert(phone, "Dinner at nine?").wait_for()
    page.press("bob recalls: Dinner at nine?")
    for phone in ("alices-iphone", "carols-xiaomi", "doras-oppo"):
        page.alert(phone, "Dinner at nine?").wait_for(state="detached")
    page.alert("alices-iphone", "Message recalled").first.wait_for()
    assert page.window.faults == []


def test_what_alice_reads_elsewhere_goes_from_her_phone_and_is_not_counted(page: PhonesPage) -> None:
    page.write("To be read at home")
    page.alert("alices-iphone", "To be read at home").wait_for()
    before = page.badge("alices-iphone")
    page.press("alice reads elsewhere: To be read at home")
    page.alert("alices-iphone", "To be read at home").wait_for(state="detached")
    page.page.wait_for_function(f"""() => {{
        const said = document.querySelector('[aria-label="alices-iphone"]').innerText.match(/Unread: (\\d+)/);
        return said && Number(said[1]) < {before};
    }}""")
    assert page.window.faults == []


def test_while_apns_is_down_the_alert_waits_and_then_comes_once(page: PhonesPage) -> None:
    page.switch("APNs is down", on=True)
    page.write("Said in the dark")
    page.has("1 waiting")
    assert page.alert("alices-iphone", "Said in the dark").count() == 0
    page.switch("APNs is down", on=False)
    page.alert("alices-iphone", "Said in the dark").wait_for()
    page.has("No alert waits, no lane is paused.")
    assert page.alert("alices-iphone", "Said in the dark").count() == 1
    pushed = page.page.locator(".wire li").filter(has_text="APNs").filter(has_text="Said in the dark")
    assert len([it for it in pushed.all_inner_texts() if "200" in it]) == 1
    assert page.window.faults == []


def test_a_wrong_key_pauses_the_lane_until_it_is_right_again(page: PhonesPage) -> None:
    page.switch("Wrong key", on=True)
    page.write("Behind a wrong key")
    page.has("403 InvalidProviderToken")
    page.page.locator(".lanes .tag").filter(has_text="paused").wait_for()
    page.switch("Wrong key", on=False)
    page.alert("alices-iphone", "Behind a wrong key").wait_for()
    page.has("No alert waits, no lane is paused.")
    assert page.window.faults == []


def test_a_phone_that_is_called_gone_is_registered_again_by_its_app(page: PhonesPage, run: Run) -> None:
    page.switch("410", on=True)
    page.write("For a phone that is gone")
    page.has("410 Unregistered")
    page.switch("410", on=False)
    run.wait(lambda: run.has_said('opens  "the app, which registers the phone again"'), "the app's next start")
    page.write("Here again")
    page.alert("alices-iphone", "Here again").wait_for()
    assert page.alert("alices-iphone", "For a phone that is gone").count() == 0
    assert page.window.faults == []


def test_a_slow_provider_is_waited_for(page: PhonesPage) -> None:
    page.switch("Slow", on=True)
    page.write("Slowly")
    page.alert("alices-iphone", "Slowly").wait_for()
    page.switch("Slow", on=False)
    assert page.alert("alices-iphone", "Slowly").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh-Hans"])
def test_the_page_has_no_barrier_in_any_width(browser: "Browser", run: Run, scheme: str, language: str) -> None:
    with window(browser, locale=language, color_scheme=scheme) as here:
        here.page.goto(run.address("phones"))
        for width in WIDTHS:
            here.widen(width)
            assert not here.scrolls_sideways, width
            assert here.barriers() == [], width
        assert here.faults == []


def test_it_works_without_scripts_too(browser: "Browser", run: Run) -> None:
    with window(browser, locale="en", java_script_enabled=False) as here:
        page = PhonesPage(here)
        here.page.goto(run.address("phones"))
        page.write("Without scripts")
        assert here.page.url.endswith("/console/phones")
        page.has("Without scripts")
