"""Operators sign in and out; what a form needs, and how many tries there are."""

import dataclasses
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.errors import StoreUnavailable
from proxy.store.connection import Store
from proxy.store.users.admission import RedisAdmission
from proxy.web import wire
from tests.web.console.site import FAR, ORIGIN, PASSWORD, Browser, Site, csrf_in
from tests.web.world import NOW

SESSION, BROWSER = "app-proxy-operator", "app-proxy-console"
CHANGE = "/console/lanes/main/apns/resume"


@pytest.fixture
def site(tmp_path: Path, store: Store) -> Site:
    made = Site(tmp_path, store, console={"writes": True})
    made.operators.add("olga", PASSWORD, NOW)
    return made


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


def is_signed_in(browser: Browser) -> bool:
    return "olga" in browser.page("/console/")


def secret_of(browser: Browser) -> str:
    cookie = browser.client.get_cookie(SESSION, domain="127.0.0.1", path="/console")
    return cookie.value if cookie else ""


def test_an_operator_signs_in_and_out(site: Site) -> None:
    browser = site.browser(FAR)
    assert not is_signed_in(browser)
    answer = browser.sign_in("olga")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/")
    assert is_signed_in(browser)
    secret = secret_of(browser)
    out = browser.form("/console/", "/console/sign-out")
    assert (out.status_code, out.headers["Location"]) == (303, "/console/")
    assert not is_signed_in(browser)
    assert site.operators.of_session(secret, NOW) is None  # at the service, too


def test_the_sessions_cookie_is_for_the_console_alone(site: Site) -> None:
    answer = site.browser().sign_in("olga")
    (cookie,) = [it for it in answer.headers.getlist("Set-Cookie") if it.startswith(SESSION)]
    morsel = SimpleCookie(cookie)[SESSION]
    assert (morsel["path"], morsel["samesite"], morsel["httponly"], morsel["max-age"]) == (
        "/console", "Strict", True, str(12 * 3600)
    )  # fmt: skip
    assert morsel["secure"] == ""


def test_behind_a_trusted_proxy_with_tls_cookies_go_over_tls_alone(tmp_path: Path, store: Store) -> None:
    site = Site(tmp_path, store, limits={"trusted_proxies": [FAR]})
    site.operators.add("olga", PASSWORD, NOW)
    for peer, is_secure in ((FAR, True), ("192.0.2.8", False)):
        answer = site.browser(peer).get("/console/sign-in", {"X-Forwarded-Proto": "https"})
        assert ("Secure" in answer.headers["Set-Cookie"]) is is_secure


@pytest.mark.parametrize(
    ("name", "password"),
    [("olga", "another password"), ("otto", PASSWORD), ("olga", ""), ("", PASSWORD), ("olga", "x" * 2000),
     ("olga\u202e", PASSWORD), ("o" * 300, PASSWORD)],
)  # fmt: skip
def test_whatever_is_wrong_gets_the_same_answer(site: Site, name: str, password: str, lines: list[Any]) -> None:
    browser = site.browser()
    answer = browser.sign_in(name, password)
    assert answer.status_code == 401
    assert "Name or password is wrong" in answer.text
    assert not is_signed_in(browser)
    audits = [line for line in lines if line["event"] == "audit"]
    assert [(line["what"], line["backend"], line["reason"]) for line in audits] == [("refused", "operators", "sign-in")]


def test_no_secret_reaches_the_log(site: Site, lines: list[Any]) -> None:
    browser = site.signed_in()
    secret = secret_of(browser)
    assert len(secret) == 43
    browser.form("/console/", CHANGE)
    csrf = csrf_in(browser.page("/console/"))
    browser.form("/console/", "/console/sign-out")
    browser.sign_in("olga", "wrong canary")
    for canary in (PASSWORD, "wrong canary", secret, csrf):
        assert canary not in repr(lines)
    audits = [line for line in lines if line["event"] == "audit"]
    assert [(line["what"], line.get("operator")) for line in audits] == [
        ("signed in", "olga"), ("lane resumed", "olga"), ("signed out", "olga"), ("refused", None)
    ]  # fmt: skip
    assert [line["operator"] for line in lines if line.get("route", "").endswith("/resume")] == ["olga"]


@pytest.mark.parametrize(
    "back",
    ["https://evil.example.com/", "//evil.example.com", "/console//evil", "/console/\\evil", "/api/alerts",
     "/console/\nx", ""],
)  # fmt: skip
def test_a_sign_in_leads_to_a_page_of_ours_alone(site: Site, back: str) -> None:
    assert site.browser().sign_in("olga", back=back).headers["Location"] == "/console/"


def test_a_session_ends_with_its_time_its_operator_and_their_password(site: Site) -> None:
    ends: list[Callable[[], bool]] = [
        lambda: site.operators.set_password("olga", PASSWORD, NOW),
        lambda: site.operators.remove("olga"),
    ]
    for end in ends:
        browser = site.signed_in()
        assert is_signed_in(browser)
        end()
        assert not is_signed_in(browser)
    secret = secret_of(site.signed_in())
    assert site.operators.of_session(secret, NOW + timedelta(hours=11)) == "olga"
    assert site.operators.of_session(secret, NOW + timedelta(hours=12)) is None


def test_a_second_cookie_of_the_sessions_name_makes_both_worthless(site: Site) -> None:
    secret, bare = secret_of(site.signed_in()), site.browser(keeps_cookies=False)
    assert "olga" in bare.get("/console/", {"Cookie": f"{SESSION}={secret}"}).text
    for cookie in (f"{SESSION}={secret}; {SESSION}=planted", f"{SESSION}=planted; {SESSION}={secret}"):
        assert "olga" not in bare.get("/console/", {"Cookie": cookie}).text


def test_without_an_operator_there_is_no_sign_in(tmp_path: Path, store: Store) -> None:
    site = Site(tmp_path, store)
    answer = site.browser().get("/console/sign-in")
    assert answer.status_code == 404
    assert "app-proxy operators add" in answer.text
    assert "/console/sign-in" not in site.browser().page("/console/")


def test_the_first_operator_may_sign_in_without_a_restart(tmp_path: Path, store: Store) -> None:
    site = Site(tmp_path, store)
    site.browser().page("/console/")
    assert is_signed_in(site.signed_in())


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example.com"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:8080"},
     {"Origin": f"{ORIGIN}.evil.example.com"}, {"Origin": "http://["}, {"Sec-Fetch-Site": "cross-site"},
     {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/console/sign-in", "/console/sign-out", CHANGE])
def test_a_form_of_another_page_is_refused(site: Site, headers: dict[str, str], path: str) -> None:
    browser = site.signed_in()
    fields = {"csrf": csrf_in(browser.page("/console/")), "name": "olga", "password": PASSWORD}
    assert browser.post(path, fields, headers).status_code == 403
    assert is_signed_in(browser)
    assert browser.post(path, fields).status_code == 303


@pytest.mark.parametrize("csrf", ["", "0" * 64, "é", None])
def test_a_form_without_the_text_that_its_page_had_is_refused(site: Site, csrf: str | None) -> None:
    browser = site.signed_in()
    answer = browser.post(CHANGE, {} if csrf is None else {"csrf": csrf})
    assert answer.status_code == 403
    assert "load the page again" in answer.text


def test_a_form_of_another_browser_or_session_is_refused(site: Site) -> None:
    olga, other = site.signed_in(), site.signed_in()
    assert other.post(CHANGE, {"csrf": csrf_in(olga.page("/console/"))}).status_code == 403
    before = csrf_in(olga.page("/console/"))
    olga.sign_in("olga")  # a new session in the same browser
    assert olga.post(CHANGE, {"csrf": before}).status_code == 403


def without_cookie(key: str, session: str) -> str:
    return f"{SESSION}={session}"


def planted_twice(key: str, session: str) -> str:
    return f"{SESSION}={session}; {BROWSER}={key}; {BROWSER}={'p' * 32}"


def planted_short(key: str, session: str) -> str:
    return f"{SESSION}={session}; {BROWSER}=p"


@pytest.mark.parametrize("cookies", [without_cookie, planted_twice, planted_short])
def test_a_form_whose_cookie_is_missing_or_was_planted_is_refused(
    site: Site, cookies: Callable[[str, str], str]
) -> None:
    browser = site.signed_in()
    csrf, session = csrf_in(browser.page("/console/")), secret_of(browser)
    kept = browser.client.get_cookie(BROWSER, domain="127.0.0.1", path="/console")
    assert kept is not None
    fresh, sent = site.browser(keeps_cookies=False), {"csrf": csrf}
    assert fresh.post(CHANGE, sent, {"Cookie": cookies(kept.value, session)}).status_code == 403
    assert fresh.post(CHANGE, sent, {"Cookie": f"{SESSION}={session}; {BROWSER}={kept.value}"}).status_code == 303


def limited(folder: Path, store: Store, **limits: str) -> Site:
    """With the counters of the real store."""
    site = Site(folder, store, limits=limits)
    site.operators.add("olga", PASSWORD, NOW)
    admission = RedisAdmission(store, lambda: NOW)
    wire(site.world.app, dataclasses.replace(site.world.services, admission=admission))
    return site


@pytest.mark.parametrize("limit", ["sign_in_per_account", "sign_in_per_address"])
def test_tries_are_limited_by_name_and_by_address(tmp_path: Path, store: Store, limit: str, app_id: str) -> None:
    site = limited(tmp_path, store, **{limit: "2/minute"})
    name = f"olga{app_id}"  # its count is this test's alone
    peer = f"2001:db8:{int(app_id[:4]):x}:{int(app_id[4:8]):x}::1"
    browser = site.browser(peer)
    assert [browser.sign_in(name, "wrong").status_code for _ in range(3)] == [401, 401, 429]
    last = browser.sign_in(name, "wrong")
    assert "Retry-After" in last.headers
    assert last.content_type == "text/html; charset=utf-8"


def test_tries_of_a_chat_user_of_that_name_take_nothing_from_the_operator(
    tmp_path: Path, store: Store, app_id: str
) -> None:
    site = limited(tmp_path, store, sign_in_per_account="1/minute")
    site.operators.add(app_id, PASSWORD, NOW)
    browser = site.browser(f"2001:db8:{int(app_id[:4]):x}:{int(app_id[4:8]):x}::2")
    site.world.client.post("/auth/login", json={"account": app_id, "password": "wrong"})
    assert browser.sign_in(app_id).status_code == 303


def test_without_the_counters_there_is_no_sign_in(site: Site) -> None:
    site.world.admission.failure = StoreUnavailable("the store does not answer")
    answer = site.browser().sign_in("olga")
    assert answer.status_code == 503
    assert SESSION not in str(answer.headers)


def test_accounts_that_cannot_be_read_are_told_and_no_secret_with_them(site: Site, lines: list[Any]) -> None:
    browser = site.signed_in()
    site.operators.close()
    with closing(sqlite3.connect(site.operators.path, isolation_level=None)) as broken:
        broken.execute("DROP TABLE sessions")
    answer = browser.get("/console/")
    assert answer.status_code == 503
    assert "the accounts&#39; database failed" in answer.text
    assert secret_of(browser) not in repr(lines)


def test_a_file_that_is_not_of_operators_is_told(tmp_path: Path, store: Store, lines: list[Any]) -> None:
    """It may come while the service runs, as one that another user of the machine made."""
    site = Site(tmp_path, store)
    assert site.browser().get("/console/").status_code == 200
    site.operators.path.write_text("no database")
    answer = site.browser().get("/console/")
    assert answer.status_code == 503
    assert "console.operators" in answer.text
    assert "is not a database of accounts" in repr(lines)
