"""Each page of the console, as a browser has it: without a fault, without a barrier, in any width, by keyboard."""

from typing import TYPE_CHECKING, Any

import pytest

from proxy.web.console.blueprint import PAGES
from tests.browser.chromium import WIDTHS, Window, window
from tests.browser.stage import OPERATOR, PASSWORD, Stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_LANGUAGES = {"light": "en", "dark": "zh-CN"}  # each scheme in the other's language would find nothing else
# elements that a keyboard must come to, each marked by a number; those of one group of radio buttons are one stop
_STOPS = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']"
_MARK_STOPS = """all => {
  const shown = it => it.checkVisibility({visibilityProperty: true}) && !it.disabled;
  const stops = [...document.querySelectorAll(all)].filter(shown);
  stops.forEach((it, n) => { it.dataset.stop = n; });
  return stops.length;
}"""
_STOP = "() => document.activeElement?.dataset.stop ?? null"


def sign_in(here: Window, on: Stage) -> None:
    here.page.goto(f"{on.console}/sign-in")
    here.page.get_by_label("Operator").or_(here.page.get_by_label("运维人员")).fill(OPERATOR)
    here.page.locator("input[type=password]").fill(PASSWORD)
    here.page.locator("main form button[type=submit]").click()
    here.page.get_by_text(OPERATOR, exact=True).wait_for()


@pytest.fixture(scope="session")
def signed_in(browser: "Browser", on: Stage) -> Any:
    """The cookies of an operator."""
    with window(browser) as here:
        sign_in(here, on)
        return here.page.context.storage_state()


@pytest.mark.parametrize("scheme", _LANGUAGES)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_no_fault_no_barrier_and_fits_each_width(
    page: str, scheme: str, browser: "Browser", on: Stage, signed_in: Any
) -> None:
    options = {"color_scheme": scheme, "locale": _LANGUAGES[scheme], "storage_state": signed_in}
    for address in on.addresses_of(page):
        with window(browser, **options) as here:
            here.page.goto(on.console + address)
            for width in WIDTHS:
                here.widen(width)
                assert not here.scrolls_sideways, (address, width)
                assert here.barriers() == [], (address, width)
            assert here.faults == [], address


@pytest.mark.parametrize("page", PAGES)
def test_a_page_goes_on_asking_and_complains_of_nothing(
    page: str, browser: "Browser", on: Stage, signed_in: Any
) -> None:
    with window(browser, storage_state=signed_in) as here:
        here.page.goto(on.console + on.address(page))
        parts = here.page.locator("[hx-trigger*=every]").count()
        for _ in range(min(parts, 1)):
            with here.page.expect_response(lambda it: "/console/live/" in it.url) as asked:
                pass
            assert asked.value.status in {200, 304}
        assert here.faults == []
        assert not here.page.locator("#stale").is_visible()


@pytest.mark.parametrize("page", PAGES)
def test_a_keyboard_comes_to_all_of_a_page(page: str, browser: "Browser", on: Stage, signed_in: Any) -> None:
    with window(browser, storage_state=signed_in) as here:
        here.page.route("**/console/live/**", lambda route: route.abort())  # a new part would lose the marks
        here.page.goto(on.console + on.address(page))
        stops, reached = here.page.evaluate(_MARK_STOPS, _STOPS), list[int]()
        for _ in range(stops * 8):  # a field for date and time has up to seven parts
            here.page.keyboard.press("Tab")
            stop = here.page.evaluate(_STOP)
            if stop is None:
                break
            if int(stop) not in reached:
                reached.append(int(stop))
        assert sorted(reached) == list(range(stops))
        assert reached[0] == 0  # "skip to the content" is the first
        assert here.page.locator("[data-stop='0']").get_attribute("href") == "#main"


def test_an_operator_signs_in_and_out_by_clicks(browser: "Browser", on: Stage) -> None:
    with window(browser) as here:
        here.page.goto(f"{on.console}/lanes")
        here.page.get_by_role("link", name="Sign in").click()
        here.page.get_by_label("Operator").fill(OPERATOR)
        here.page.get_by_label("Password").fill("not the password")
        here.page.get_by_role("button", name="Sign in").click()
        here.page.get_by_role("alert").wait_for()
        assert [it for it in here.faults if it.startswith("401")]
        here.page.get_by_label("Operator").fill(OPERATOR)
        here.page.get_by_label("Password").fill(PASSWORD)
        here.page.get_by_role("button", name="Sign in").click()
        here.page.get_by_text(OPERATOR, exact=True).wait_for()
        assert here.page.url == f"{on.console}/lanes"  # back to where they were
        here.page.get_by_role("button", name="Sign out").click()
        here.page.get_by_role("link", name="Sign in").wait_for()


def test_the_language_is_a_click_and_stays(browser: "Browser", on: Stage) -> None:
    with window(browser, locale="en") as here:
        here.page.goto(f"{on.console}/lanes")
        here.page.get_by_role("link", name="简体中文").click()
        here.page.get_by_role("heading", name="通道").wait_for()
        here.page.goto(f"{on.console}/")
        assert here.page.locator("html").get_attribute("lang") == "zh-Hans"


def test_a_page_says_when_the_service_is_gone(browser: "Browser", on: Stage) -> None:
    with window(browser) as here:
        here.page.goto(f"{on.console}/lanes")
        here.page.route("**/console/live/**", lambda route: route.abort())
        here.page.locator("#stale").wait_for(state="visible")
        here.page.unroute("**/console/live/**")
        here.page.locator("#stale").wait_for(state="hidden")


def test_dead_letters_go_back_to_work_by_clicks(browser: "Browser", on: Stage, signed_in: Any) -> None:
    before = len(on.rig.dead_letters())
    with window(browser, storage_state=signed_in) as here:
        here.page.goto(f"{on.console}/dead-letters")
        here.page.get_by_label("Cause", exact=True).select_option("rejected")
        here.page.get_by_role("button", name="Show", exact=True).click()
        here.page.get_by_role("button", name="Dry run").click()
        here.page.get_by_text("can be replayed").wait_for()
        assert here.barriers() == []
        here.page.get_by_role("button", name="Replay").click()
        here.page.get_by_text("are back at work").wait_for()
        assert here.faults == []
    assert before > len(on.rig.dead_letters())


def test_an_operator_rings_a_phone_by_clicks_and_finds_what_became_of_it(
    browser: "Browser", on: Stage, signed_in: Any
) -> None:
    with window(browser, storage_state=signed_in) as here:
        here.page.goto(f"{on.console}/find")
        here.page.get_by_label("Account", exact=True).fill("alice")
        here.page.get_by_role("button", name="Find").click()
        here.page.get_by_role("link", name="Its devices, a test alert, and a block").first.click()
        here.page.get_by_role("button", name="Send a test alert to alice-iphone").click()
        here.page.get_by_text("The test alert is in its lane").wait_for()
        address = here.page.url
        for _ in range(100):
            if here.page.get_by_text("answered").count():
                break
            here.page.wait_for_timeout(100)
            here.page.goto(address)
        assert here.page.get_by_role("row", name="answered").count() == 1
        assert here.faults == []


def test_an_app_is_checked_by_a_click(browser: "Browser", on: Stage, signed_in: Any) -> None:
    with window(browser, storage_state=signed_in) as here:
        here.page.goto(f"{on.console}/apps")
        here.page.get_by_role("button", name="Check main").click()
        here.page.get_by_text("What the check of main found").first.wait_for()
        assert here.page.get_by_role("row", name="apps.main.base_url").count() == 1
        assert here.barriers() == []
        assert here.faults == []
