"""The page of the lanes: what waits, which are paused and until when, and the end of a pause."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.domain.lanes import Lane, PauseKind
from proxy.store.connection import Store
from proxy.store.queue.lane_states import RedisLaneStates, lane_views
from tests.store.samples import LAYOUT, raw, with_redis
from tests.web.console.site import FAR, Site
from tests.web.world import NOW


class Lanes:
    """A lane of phones and one of a webhook."""

    def __init__(self, folder: Path, store: Store, url: str, app_id: str) -> None:
        self.phones, self.webhook = Lane(app_id, "main", "apns"), Lane(app_id, "main", "webhook-crm")
        self.site = Site(folder, store, [self.phones, self.webhook], console={"writes": True})
        self.store, self._url = store, url

    def redis(self, do: Any) -> None:
        with_redis(self._url, lambda redis: do(RedisLaneStates(redis, "worker-1")))

    def pause(self, reason: str, kind: PauseKind, probe_in: timedelta, now: datetime = NOW) -> None:
        self.redis(lambda lanes: lanes.pause(self.phones, reason, now, now + probe_in, kind))

    def page(self) -> str:
        return self.site.browser(FAR).page("/console/lanes")


@pytest.fixture
def lanes(tmp_path: Path, store: Store, store_url: str, app_id: str) -> Lanes:
    return Lanes(tmp_path, store, store_url, app_id)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


def test_a_lane_shows_what_waits_and_that_it_works(lanes: Lanes) -> None:
    for shard in LAYOUT.all_shards:
        raw(lanes.store, "XADD", LAYOUT.jobs(lanes.phones, shard), "*", "r", "{}")
        raw(lanes.store, "ZADD", LAYOUT.retries(lanes.webhook, shard), "1", "x", "2", "y")
    html = lanes.page()
    assert html.count("works") == 2
    rows = html.split('<th scope="row">')[1:]
    assert [row.split("<br>")[0] for row in rows] == ["main/apns", "main/webhook-crm"]
    assert '<td class="number">1</td>' in rows[0]
    assert '<td class="number">2</td>' in rows[1]
    assert ["phones" in rows[0], "webhook<" in rows[1]] == [True, True]


@pytest.mark.parametrize(
    ("kind", "told", "way_out"),
    [
        (PauseKind.FAULT, "paused", "Mend what the reason names"),
        (PauseKind.BREAKER, "paused by the breaker", "Look at the network"),
        (PauseKind.REST, "paused as the provider asked", "It goes on at the time"),
    ],
)
def test_a_pause_says_why_since_when_until_when_and_the_way_out(
    lanes: Lanes, kind: PauseKind, told: str, way_out: str
) -> None:
    lanes.pause("Invalid <b>ProviderToken", kind, timedelta(minutes=10))
    html = lanes.page()
    assert f">{told}</span> Invalid &lt;b&gt;ProviderToken" in html
    assert "2026-11-23 12:00:00 UTC" in html
    assert way_out in html
    assert any(f"2026-11-23 12:{it} UTC" in html for it in ("09:59", "10:00"))
    assert "Resume" not in html  # for operators alone


def test_a_probe_that_is_due_or_under_way_has_no_time(lanes: Lanes) -> None:
    lanes.pause("HTTP 500", PauseKind.BREAKER, timedelta(milliseconds=1))
    assert "as soon as there is something to send" in lanes.page()
    lanes.redis(lambda states: states.may_probe(lanes.phones, timedelta(seconds=60)))
    (view,) = lane_views(lanes.store, [lanes.phones])
    assert view.probe_in == timedelta(0)  # 60 s are the worker's time to probe, not to wait
    assert "as soon as there is something to send" in lanes.page()


def test_what_waits_for_its_probe_is_sent_to_a_browser_once(lanes: Lanes) -> None:
    lanes.pause("HTTP 500", PauseKind.BREAKER, timedelta(minutes=10))
    browser = lanes.site.browser(FAR)
    tags = {browser.get("/console/live/lanes").headers["ETag"] for _ in range(10)}
    assert len(tags) <= 2  # of the second in which it was asked


def test_an_operator_resumes_a_lane_which_is_audited(lanes: Lanes, lines: list[Any]) -> None:
    lanes.pause("Invalid key", PauseKind.FAULT, timedelta(minutes=10))
    browser = lanes.site.signed_in(peer=FAR)
    assert 'aria-label="Resume main/apns"' in browser.page("/console/lanes")
    for told in ("goes on within a second", "was not paused any more"):
        answer = browser.form("/console/lanes", "/console/lanes/main/apns/resume")
        assert answer.status_code == 303
        assert told in browser.page(answer.headers["Location"])
    assert lane_views(lanes.store, [lanes.phones])[0].pause is None
    audits = [line for line in lines if line.get("what") == "lane resumed"]
    assert [(line["lane"], line["operator"], line["via"], line["was_paused"]) for line in audits] == [
        ("main/apns", "olga", "console", 1), ("main/apns", "olga", "console", 0)
    ]  # fmt: skip


def test_a_lane_that_is_not_of_the_settings_is_not_resumed(lanes: Lanes) -> None:
    answer = lanes.site.signed_in().form("/console/", "/console/lanes/main/other/resume")
    assert answer.status_code == 404
    assert "there is no such lane" in answer.text


def test_without_lanes_the_page_says_so(tmp_path: Path, store: Store) -> None:
    assert "There is no lane" in Site(tmp_path, store, []).browser().page("/console/lanes")
    assert lane_views(store, []) == []
