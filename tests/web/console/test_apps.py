"""The page of the apps, and the checks of one on a button."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.store.connection import Store
from tests.test_check_config import served
from tests.web.console.site import FAR, Browser, Site
from tests.web.world import APP_SECRET, app_section, mipush_section, other_section

CHECK = "/console/apps/main/check"
GOOD = (json.dumps({"code": 0}), 200, {"Content-Type": "application/json"})


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


@pytest.fixture
def seen() -> list[dict[str, str]]:
    return []


@pytest.fixture
def address(seen: list[dict[str, str]]) -> Iterator[str]:
    """Of a server that is MIMC and Xiaomi in one."""
    with served(GOOD, seen) as url:
        yield url


def made(folder: Path, store: Store, address: str, **app: Any) -> Site:
    main = app_section(base_url=address, mipush=mipush_section(base_url=address, app_secret="push-canary"), **app)
    return Site(folder, store, apps={"main": main, "other": other_section(base_url=address)})


def check(browser: Browser) -> str:
    answer = browser.form("/console/apps", CHECK)
    assert answer.status_code == 200
    return answer.text


def test_each_app_says_what_it_does_and_nothing_is_asked(
    tmp_path: Path, store: Store, address: str, seen: list[dict[str, str]]
) -> None:
    site = made(tmp_path, store, address, delivery="shadow", delivery_share=5, api=["push"])
    html = site.browser().page("/console/apps")
    for told in ("Alerts through mipush", "Shadow: alerts are built", "Yet 5 %", "open: push", "Tokens only"):
        assert told in html
    assert html.count(">Check<") == 2
    assert seen == []


def test_the_button_asks_mimc_and_the_apps_providers_and_no_other_app(
    tmp_path: Path, store: Store, address: str, seen: list[dict[str, str]], lines: list[Any]
) -> None:
    html = check(made(tmp_path, store, address).browser())
    for told in ("apps.main.base_url", "apps.main.mipush.app_secret", "accepts it", "Not tried: ", ">ok<"):
        assert told in html
    assert "apps.other" not in html
    assert [one["path"] for one in seen] == ["", "v1/trace/quota/get"]
    assert [line["faults"] for line in lines if line.get("route", "").endswith("/check")] == [0]
    for canary in (APP_SECRET, "push-canary"):
        assert canary not in html + repr(lines)


def test_a_fault_is_one_and_says_where(tmp_path: Path, store: Store, lines: list[Any]) -> None:
    html = check(made(tmp_path, store, "http://127.0.0.1:1").browser())
    assert html.count(">fault<") == 2
    assert "no answer from 127.0.0.1" in html
    assert [line["faults"] for line in lines if line.get("route", "").endswith("/check")] == [2]


def test_one_check_at_a_time_so_that_a_thread_is_left_for_the_rest(tmp_path: Path, store: Store) -> None:
    asked, go_on, waiting = threading.Event(), threading.Event(), threading.Thread()

    def slow() -> Iterator[bytes]:
        asked.set()
        assert go_on.wait(20)
        yield b"{}"

    class Slow:
        def __iter__(self) -> Iterator[object]:
            return iter((slow(), 200))

    with served(Slow()) as address:
        site = made(tmp_path, store, address)
        try:
            waiting = threading.Thread(target=check, args=[site.browser()])
            waiting.start()
            assert asked.wait(20)
            answer = site.browser().form("/console/apps", CHECK)
            assert (answer.status_code, "another check is under way" in answer.text) == (503, True)
        finally:
            go_on.set()
            waiting.join()
        assert ">ok<" in check(site.browser())


def test_an_app_that_is_not_there_cannot_be_checked(tmp_path: Path, store: Store, address: str) -> None:
    browser = made(tmp_path, store, address).browser()
    assert browser.form("/console/apps", "/console/apps/nothing/check").status_code == 404


def test_a_visitor_from_elsewhere_looks_but_checks_only_after_sign_in(
    tmp_path: Path, store: Store, address: str, seen: list[dict[str, str]]
) -> None:
    site = made(tmp_path, store, address)
    site.operators.add("olga", "correct horse canary", site.world.services.now())
    stranger = site.browser(FAR)
    assert ">Check<" not in stranger.page("/console/apps")
    assert stranger.form("/console/sign-in", CHECK).status_code == 401
    assert seen == []
    assert ">ok<" in check(site.signed_in(peer=FAR))
