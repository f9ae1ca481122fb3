"""What every page of the console has: headers, parts with an ETag, errors as pages, words in each language."""

import hashlib
import re
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from structlog.testing import capture_logs
from werkzeug.exceptions import TooManyRequests

from proxy.domain.lanes import Lane
from proxy.errors import StoreUnavailable
from proxy.store.connection import Store
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.web import console
from proxy.web.console import words
from proxy.web.console.blueprint import PAGES
from proxy.web.console.figures import age, clock, number
from proxy.web.console.rules import open_to_look
from proxy.web.openapi import routes_of
from tests.store.samples import with_redis
from tests.web.console.site import FAR, LANE, ORIGIN, PASSWORD, Site
from tests.web.world import APP_SECRET, JWT_KEY, NOW, URL_SECRET
from tests.web.world import ORIGIN as OF_CHAT

FOLDER = Path(console.__file__).parent
STATIC = FOLDER / "static"
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"


@pytest.fixture
def site(tmp_path: Path, store: Store) -> Site:
    return Site(tmp_path, store)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


def addresses() -> list[str]:
    return ["/console/" if name == "now" else f"/console/{name.replace('_', '-')}" for name in PAGES]


@pytest.mark.parametrize("path", [*addresses(), "/console/nowhere", "/console/static/x/y.js"])
def test_every_answer_has_the_headers_for_browsers(site: Site, path: str) -> None:
    answer = site.browser().get(path, {"Origin": OF_CHAT})
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in answer.headers  # a page that clients may use reads nothing here


@pytest.mark.parametrize("path", addresses())
def test_a_page_needs_nothing_that_the_policy_forbids(site: Site, path: str) -> None:
    html = site.browser().page(path)
    assert not re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:", html)
    for address in re.findall(r'(?:src|href|action)="([^"]*)"', html):
        assert address.startswith(("/console", "#")), address
    assert '"includeIndicatorStyles": false, "allowEval": false' in html


@pytest.mark.parametrize("path", addresses())
@pytest.mark.parametrize("language", words.LANGUAGES)
def test_a_page_says_its_language_its_title_and_where_one_is(site: Site, path: str, language: str) -> None:
    html = site.browser().page(f"{path}?language={language}")
    assert f'<html lang="{language}">' in html
    assert re.search(r"<title>\S.* · \S.*</title>", html)
    assert len(re.findall("<h1>", html)) == 1
    assert f'href="{path}" aria-current="page"' in html


@pytest.mark.parametrize("path", addresses())
def test_no_page_and_no_line_of_the_log_has_a_secret(site: Site, path: str, lines: list[Any]) -> None:
    browser = site.signed_in()
    cookie = browser.client.get_cookie("app-proxy-operator", domain="127.0.0.1", path="/console")
    assert cookie is not None
    html = browser.page(path)
    for canary in (APP_SECRET, JWT_KEY, URL_SECRET, PASSWORD, cookie.value):
        assert canary not in html
        assert canary not in repr(lines)


def test_the_language_is_the_browsers_until_a_person_chooses(site: Site) -> None:
    browser = site.browser()
    for asked, expected in (
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"), ("zh-TW", "zh-Hans"), ("de", "en"), ("en-GB,zh", "en"), ("", "en"),
        ("?", "en"),
    ):  # fmt: skip
        assert f'<html lang="{expected}">' in browser.get("/console/", {"Accept-Language": asked}).text, asked
    browser.page("/console/?language=zh-Hans")
    assert '<html lang="zh-Hans">' in browser.page("/console/lanes")
    assert '<html lang="zh-Hans">' in browser.page("/console/?language=tlh")
    assert '<html lang="en">' in browser.page("/console/?language=en")


def test_both_languages_say_the_same_and_leave_nothing_out() -> None:
    english, chinese = (words.catalogue(it) for it in words.LANGUAGES)
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert text.strip() == text != ""
        assert chinese[key].strip() == chinese[key] != ""
        assert blanks(text) == blanks(chinese[key]), key


def blanks(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name)


def test_each_text_that_is_named_is_there() -> None:
    known = words.catalogue("en")
    named = {
        key
        for path in [*FOLDER.glob("*.py"), *FOLDER.glob("templates/console/*.html")]
        for key in re.findall(r"""\b(?:t|say)\(["']([a-z_]+(?:\.[a-z0-9_]+)+)["'][,)]""", path.read_text("utf-8"))
    }
    assert len(named) > 20
    assert named <= known.keys()
    assert {f"{page}.title" for page in PAGES} <= known.keys()


def test_each_file_of_words_is_toml_without_a_text_of_nothing_but_english() -> None:
    for path in (FOLDER / "words").glob("*/*.toml"):
        assert tomllib.loads(path.read_text("utf-8")), path
    assert {it.name for it in (FOLDER / "words").iterdir()} == set(words.LANGUAGES)


def test_a_part_is_sent_once_and_again_when_it_changed(
    tmp_path: Path, store: Store, store_url: str, app_id: str
) -> None:
    lane = Lane(app_id, "main", "apns")
    browser = Site(tmp_path, store, [lane]).browser()
    first = browser.get("/console/live/lanes")
    tag = first.headers["ETag"]
    assert first.status_code == 200
    assert tag.replace('"', '\\"') in first.text.replace("&#34;", '"')  # the browser shows it with its next question
    again = browser.get("/console/live/lanes", {"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    pause = RedisLaneStates.pause
    with_redis(store_url, lambda redis: pause(RedisLaneStates(redis), lane, "HTTP 403", NOW, NOW + timedelta(1)))
    changed = browser.get("/console/live/lanes", {"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag
    assert "HTTP 403" in changed.text


@pytest.mark.parametrize("path", ["/console/live/lanes", "/console/live/now"])
def test_a_page_holds_its_part_as_the_part_itself_is_sent(site: Site, path: str) -> None:
    browser = site.browser()
    part = browser.page(path)
    assert part in browser.page(path.replace("live/now", "").replace("live/", ""))
    assert f'hx-get="{path}"' in part


@pytest.mark.parametrize("path", ["/console/lanes", "/console/live/lanes", "/console/nowhere"])
@pytest.mark.parametrize("name", ["endpoint", "_method", "_scheme", "_external", "_anchor", "unknown"])
def test_a_parameter_of_any_name_stays_one(site: Site, path: str, name: str) -> None:
    answer = site.browser().get(f"{path}?{name}=a%26b")
    assert answer.status_code == (404 if path == "/console/nowhere" else 200)
    assert f"{path}?{name}=a%26b" in answer.text


def test_a_page_that_is_not_there_is_told_as_a_page(site: Site) -> None:
    answer = site.browser().get("/console/nowhere/at/all")
    assert (answer.status_code, answer.content_type) == (404, "text/html; charset=utf-8")
    assert "there is no such page" in answer.text


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (StoreUnavailable("the store does not answer", "10.0.0.1:6379"), 503, "the store does not answer"),
        (ValueError("canary"), 500, "internal server error"),
        (TooManyRequests("canary"), 429, "too many requests"),
    ],
)
def test_an_error_is_a_page_without_content(
    site: Site, error: Exception, status: int, told: str, lines: list[Any]
) -> None:
    def fail() -> Any:
        raise error

    site.world.app.add_url_rule("/console/fail", "console.fail", open_to_look(fail))
    answer = site.browser().get("/console/fail")
    assert (answer.status_code, answer.content_type) == (status, "text/html; charset=utf-8")
    assert told in answer.text
    assert "canary" not in answer.text
    assert "10.0.0.1" not in answer.text
    assert [line["status"] for line in lines if line["event"] == "request"] == [status]


def test_a_page_called_by_an_unknown_name_is_refused(site: Site) -> None:
    """The name of a page of the internet, whose address was changed to ours."""
    answer = site.browser().get("/console/", {"Host": "evil.example.com"})
    assert answer.status_code == 421
    assert "<html" not in answer.text


def test_a_stranger_who_only_looks_gets_no_cookie(site: Site) -> None:
    for path in addresses():
        assert "Set-Cookie" not in site.browser(FAR).get(path).headers


def test_what_others_wrote_is_as_they_published_it() -> None:
    told = re.findall(
        r"^\| `([^`]+)` \| .*`([0-9a-f]{64})` \|$", (STATIC / "README.md").read_text("utf-8"), re.MULTILINE
    )
    ours = {"console.css", "console.js", "phones.css", "phones.js", "icon.svg", "README.md"}
    assert {name for name, _ in told} == {path.name for path in STATIC.iterdir()} - ours
    for name, digest in told:
        assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == digest, name


def test_style_and_scripts_are_cached_under_their_hash_alone(site: Site) -> None:
    browser = site.browser()
    addresses = set(re.findall(r'"(/console/static/[^"]+)"', browser.page("/console/")))
    assert len(addresses) >= 4
    for address in addresses:
        answer = browser.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.mimetype in {"text/css", "text/javascript", "image/svg+xml"}
        *_, tag, name = address.split("/")
        assert answer.data == (STATIC / name).read_bytes()
        assert hashlib.sha256(answer.data).hexdigest().startswith(tag)
        assert browser.get(address.replace(tag, "0" * 16)).status_code == 404
    assert browser.get("/console/static/x/README.md").status_code == 404


def test_pages_are_no_part_of_what_programs_may_call(site: Site) -> None:
    assert not [path for _, path in routes_of(site.world.app.url_map.iter_rules()) if "console" in path]


def test_the_log_names_the_route_and_not_what_a_path_holds(site: Site, lines: list[Any]) -> None:
    site.browser().post("/console/lanes/canary/apns/resume")
    assert [line["route"] for line in lines if line["event"] == "request"] == ["/console/lanes/<app>/<channel>/resume"]
    assert "canary" not in repr(lines)


def test_numbers_ages_and_times_are_as_people_read_them(site: Site) -> None:
    with site.world.app.test_request_context("/console/", base_url=ORIGIN):
        assert [number(it) for it in (0, 1234567, 0.5, 12.345)] == ["0", "1,234,567", "0.5", "12.35"]
        told = [age(it) for it in (-1, 0, 0.25, 1, 119, 120, 7200, 86_400 * 2)]
        assert told == ["0 s", "0 s", "250 ms", "1 s", "119 s", "2 min", "2 h", "2 days"]
        assert clock(NOW) == "2026-11-23 12:00:00 UTC"


def test_each_lane_of_the_site_is_on_its_page(site: Site) -> None:
    assert LANE.name in site.browser().page("/console/lanes")
