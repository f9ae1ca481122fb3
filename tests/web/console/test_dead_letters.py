"""The page of dead letters: what it shows, and runs over many of them."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlencode

import pytest
from structlog.testing import capture_logs

from proxy.domain.dead_letters import Cause
from proxy.domain.lanes import Lane
from proxy.domain.times import to_ms
from proxy.store.connection import Store
from proxy.store.queue.dead_letters import RedisDeadLetters
from tests.store.queue.test_dead_letters import bury, bury_callback, waiting
from tests.store.samples import LAYOUT, alert, apns_lane, job
from tests.web.console.site import FAR, Browser, Site, csrf_in
from tests.web.world import app_section

PATH = "/console/dead-letters"
SOON = {"until": str(to_ms(datetime.now(UTC) + timedelta(hours=1)))}  # the store's clock is real, the site's is not


class Letters:
    """A site and the dead letters of an app of its own."""

    def __init__(self, folder: Path, store: Store, store_url: str, app_id: str, **console: object) -> None:
        self.store, self.url, self.app_id = store, store_url, app_id
        self.lane = apns_lane(app_id)
        apps = {"main": app_section(app_id=app_id)}
        self.site = Site(folder, store, [self.lane], apps=apps, console=console)

    def bury(self, count: int, reason: str = "TooLarge", cause: Cause = Cause.REJECTED) -> None:
        for first in range(0, count, 100):
            names = range(first, min(count, first + 100))
            jobs = [job(self.lane, account=f"ben-{it}", of=alert(f"{reason}-{it}")) for it in names]
            bury(self.url, self.app_id, jobs, cause, reason, dead_cap=100_000)

    def left(self) -> int:
        return RedisDeadLetters(self.store, jobs_cap=9, callbacks_cap=9).count(self.app_id)

    def waiting(self) -> int:
        return len(waiting(self.store, LAYOUT.jobs(self.lane, 0)))


@pytest.fixture
def letters(tmp_path: Path, store: Store, store_url: str, app_id: str) -> Letters:
    return Letters(tmp_path, store, store_url, app_id, writes=True)


def fields_of(html: str) -> dict[str, str]:
    """Of the form with which a run goes on."""
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html))
    if found := re.search(r'<textarea name="refused" hidden>(.*?)</textarea>', html, re.DOTALL):
        fields["refused"] = found[1]
    return fields


def run(browser: Browser, deed: str, fields: dict[str, str]) -> list[str]:
    """What each step answers."""
    answers = list[str]()
    while not answers or "hx-trigger" in answers[-1]:
        answer = (
            browser.get(f"{PATH}/try?{urlencode(fields)}") if deed == "try" else browser.post(f"{PATH}/{deed}", fields)
        )
        assert answer.status_code == 200
        answers.append(answer.text)
        fields = fields_of(answers[-1])
    return answers


def test_letters_are_grouped_by_what_they_died_of(letters: Letters) -> None:
    letters.bury(3)
    letters.bury(2, "expired", Cause.EXPIRED)
    bury_callback(letters.store, letters.url, letters.app_id)
    html = letters.site.browser().page(PATH)
    rows = re.findall(r'<td class="number">(\d+)</td>\s*<th scope="row"><a[^>]*>([\w ]+)</a>', html)
    assert rows == [("3", "rejected"), ("2", "expired"), ("1", "poison")]
    assert "ben-0" in html
    chosen = letters.site.browser().page(f"{PATH}?cause=expired")
    assert re.findall(r'<td class="number">(\d+)</td>', chosen) == ["2"]
    assert "ben-2" not in chosen


def test_a_lane_that_the_settings_have_no_more_is_shown_and_leads_to_no_refusal(letters: Letters) -> None:
    letters.bury(1)
    gone = Lane(letters.app_id, "gone", "apns")
    bury(letters.url, letters.app_id, [job(gone, account="gil", of=alert("gone"))], Cause.EXPIRED, "expired")
    browser = letters.site.browser()
    html = browser.page(PATH)
    assert "gone/apns" in html
    links = [unescape(it) for it in re.findall(rf'href="({PATH}\?[^"]*cause=[^"]*)"', html)]
    assert len(links) == 1
    assert "ben-0" in browser.page(links[0])


@pytest.mark.parametrize(
    "query",
    ["app=none", "channel=none", "cause=none", "newer=yesterday", "older=1", "newer=2026-13-01T00:00",
     "newer=1969-12-31T23:59", "older=0001-01-01T00:00"],
)  # fmt: skip
def test_a_choice_that_cannot_be_is_refused(letters: Letters, query: str) -> None:
    answer = letters.site.browser().get(f"{PATH}?{query}")
    assert (answer.status_code, "expected" in answer.text) == (400, True)
    assert not letters.store.is_away


def test_a_dry_run_counts_step_by_step_and_changes_nothing(letters: Letters) -> None:
    letters.bury(450)
    answers = run(letters.site.signed_in(), "try", SOON)
    assert len(answers) >= 3
    assert re.search(r'<progress value="\d+" max="450"', answers[0])
    assert "450 can be replayed" in answers[-1]
    assert (letters.left(), letters.waiting()) == (450, 0)


def test_a_run_takes_all_that_died_before_it_in_steps(letters: Letters) -> None:
    letters.bury(250)
    browser = letters.site.signed_in()
    tried = run(browser, "try", SOON)[-1]
    with capture_logs() as lines:
        answers = run(browser, "replay", fields_of(tried))
    assert len(answers) >= 3
    assert "250 are back at work" in answers[-1]
    assert (letters.left(), letters.waiting()) == (0, 250)
    told = [line for line in lines if line["event"] == "audit"]
    assert sum(line["done"] for line in told) == 250
    assert {(line["operator"], line["what"]) for line in told} == {("olga", "dead letters: replay")}


def test_letters_that_die_while_it_runs_are_none_of_a_run(letters: Letters) -> None:
    letters.bury(3)
    browser = letters.site.signed_in()
    before = {"until": str(to_ms(datetime.now(UTC) - timedelta(hours=1)))}
    tried = run(browser, "try", before)[-1]
    assert "0 can be replayed" in tried
    assert "<form" not in tried
    assert letters.left() == 3


def test_a_run_drops_what_is_chosen_alone(letters: Letters) -> None:
    letters.bury(3)
    letters.bury(2, "expired", Cause.EXPIRED)
    browser = letters.site.signed_in()
    tried = run(browser, "try", {"cause": "expired", **SOON})[-1]
    assert "2 are dropped" in run(browser, "drop", fields_of(tried))[-1]
    assert letters.left() == 3


def test_words_that_are_gone_are_told_and_may_be_done_without(letters: Letters) -> None:
    letters.bury(2)
    for name in letters.store.call(lambda redis: redis.keys(f"*:{letters.app_id}:dead-words:*")):
        letters.store.call(lambda redis, name=name: redis.delete(name))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
    browser = letters.site.signed_in()
    refused = run(browser, "try", SOON)[-1]
    assert '2: <span lang="en">its words are gone' in refused
    assert "Replay" not in refused
    tried = run(browser, "try", {"wordless": "1", **SOON})[-1]
    assert "2 are back at work" in run(browser, "replay", fields_of(tried))[-1]


@pytest.mark.parametrize("deed", ["replay", "drop"])
def test_who_may_only_look_changes_nothing(
    deed: str, tmp_path: Path, store: Store, store_url: str, app_id: str
) -> None:
    shows = Letters(tmp_path, store, store_url, app_id)
    shows.bury(1)
    browser = shows.site.signed_in()
    csrf = csrf_in(browser.page("/console/"))
    assert browser.post(f"{PATH}/{deed}", {"csrf": csrf, **SOON}).status_code == 403
    assert "Replay" not in run(browser, "try", SOON)[-1]
    assert shows.left() == 1


@pytest.mark.parametrize("deed", ["replay", "drop"])
def test_a_form_of_another_site_changes_nothing(deed: str, letters: Letters) -> None:
    letters.bury(1)
    browser = letters.site.signed_in()
    csrf = csrf_in(browser.page("/console/"))
    assert browser.post(f"{PATH}/{deed}", SOON).status_code == 403
    elsewhere = {"Origin": "https://evil.example.com"}
    assert browser.post(f"{PATH}/{deed}", {"csrf": csrf, **SOON}, elsewhere).status_code == 403
    assert letters.left() == 1


@pytest.mark.parametrize("path", [PATH, f"{PATH}/try"])
def test_accounts_are_shown_to_no_stranger(path: str, letters: Letters) -> None:
    assert letters.site.browser(FAR).get(path).status_code == 403
    letters.site.signed_in()
    assert letters.site.browser(FAR).get(path).status_code in {303, 401}


@pytest.mark.system
@pytest.mark.trial
def test_a_page_looks_at_the_newest_alone_and_says_so(letters: Letters) -> None:
    """Without that, a rare cause among a million would hold one of the listener's two threads for a minute."""
    letters.bury(1, "Rare", Cause.EXPIRED)
    letters.bury(20_000)
    browser = letters.site.signed_in()
    html = browser.page(f"{PATH}?cause=expired")
    assert "None of the newest 20,000" in html
    assert "There is none" not in html
    assert "1 can be replayed" in run(browser, "try", {"cause": "expired", **SOON})[-1]


@pytest.mark.system
@pytest.mark.trial
def test_a_run_over_10_000_letters_takes_a_hundred_at_a_time(letters: Letters) -> None:
    """So no thread of the web is held for longer than these take; the page asks for the next a second later."""
    letters.bury(10_000)
    browser = letters.site.signed_in()
    answers = run(browser, "replay", fields_of(run(browser, "try", SOON)[-1]))
    assert len(answers) <= 100  # never less than a hundred
    done = [int(it.replace(",", "")) for page in answers for it in re.findall(r"<p>([\d,]+) of 10,000</p>", page)]
    assert max(after - before for before, after in pairwise([0, *done, 10_000])) < 200
    assert "10,000 are back at work" in answers[-1]
    assert (letters.left(), letters.waiting()) == (0, 10_000)
