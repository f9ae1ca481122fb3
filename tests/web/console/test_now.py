"""The first page: what is wrong and the way out, and the figures of the last hour and day."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.domain.decisions import Result
from proxy.domain.figures import MESSAGES, seconds_within, settled
from proxy.domain.lanes import Lane
from proxy.domain.monitoring import Metric
from proxy.store.connection import Store
from proxy.store.server.figures import FiguresKeeper
from proxy.web.console.now import kind_of
from proxy.web.console.plots import HEIGHT, WIDTH, Line, Plot
from proxy.web.console.words import LANGUAGES, catalogue
from tests.store.samples import with_redis
from tests.web.console.site import FAR, Site
from tests.web.world import NOW, app_section

ROOT = Path(__file__).resolve().parents[3]
_ENTRIES = re.compile(r"^## `([^`]+)`$", re.MULTILINE)


@pytest.fixture
def site(tmp_path: Path, store: Store, app_id: str) -> Site:
    """Of an app of its own: the figures of other tests are of other sections."""
    section = f"a{app_id}"
    lanes = [Lane(app_id, section, it) for it in ("apns", "mipush", "webhook-crm")]
    return Site(tmp_path, store, lanes, apps={section: app_section(app_id=app_id)})


def section_of(site: Site) -> str:
    return next(iter(site.world.settings.apps))


def keep(store_url: str, sums: dict[str, int], now: datetime = NOW) -> None:
    async def adding(redis: Any) -> None:
        await FiguresKeeper(redis).add(sums, now)

    with_redis(store_url, adding)


def cards(html: str) -> dict[str, str]:
    found = re.findall(r'<div class="card"><dt>(.*?)</dt><dd>(.*?)</dd></div>', html, re.DOTALL)
    return {name: re.sub(r"(<[^>]+>|\s)+", " ", value).strip() for name, value in found}


def test_nothing_is_wrong_while_all_entries_say_so(site: Site) -> None:
    fine = {"store": "writable", "worker host-1-a": "works", "worker host-2-b": "works on 0-7", "spool": "on: none"}
    site.world.state.details = fine
    assert "Nothing. The service does its work." in site.browser().page("/console/")


@pytest.mark.parametrize(
    ("entry", "sentence", "way"),
    [
        ("workers", "none has written its state within 15 s", "Start a worker: app-proxy worker."),
        ("lane main/apns", "paused since noon: <InvalidProviderToken>", "then resume the lane"),
        ("worker host-1-a", "lane main/apns makes no progress: it is tired", "See its log"),
        ("apps.main.mipush.channel_id", "missing", "See docs/mipush.md."),
        ("store", "the store does not answer (10.0.0.1)", "See the store&#39;s own log"),
    ],
)
def test_what_is_wrong_is_said_as_readyz_says_it_with_the_way_out(
    entry: str, sentence: str, way: str, site: Site
) -> None:
    site.world.state.details = {"store": "writable"} | {entry: sentence}
    html = site.browser().page("/console/")
    told = site.browser().get("/readyz").json
    assert told is not None
    assert told["data"][entry] == sentence
    shown = re.search(rf"<li[^>]*><strong>{re.escape(entry)}</strong>: (.*?)</li>", html, re.DOTALL)
    assert shown
    assert sentence.replace("<", "&lt;").replace(">", "&gt;") in shown[1]
    assert way in shown[1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_entry_of_the_runbook_has_a_way_out_in_words(language: str) -> None:
    entries = _ENTRIES.findall((ROOT / "docs/readyz.md").read_text())
    assert len(entries) > 15
    kinds = {kind_of(entry) for entry in entries}
    assert kinds <= {key.removeprefix("now.way.") for key in catalogue(language)}


def test_the_cards_have_the_sums_of_the_last_hour(site: Site, store_url: str) -> None:
    section, now = section_of(site), NOW
    for at in (now, now - timedelta(minutes=20)):
        keep(store_url, {
            MESSAGES: 100,
            settled(section, "apns", Result.ACCEPTED): 80, settled(section, "apns", Result.RETRY): 20,
            settled(section, "webhook-crm", Result.ACCEPTED): 1000,  # no alerts
            seconds_within(0.02): 99, seconds_within(5.0): 1,
        }, at)  # fmt: skip
    keep(store_url, {settled(section, "apns", Result.ACCEPTED): 7}, now - timedelta(hours=2))
    site.world.state.store_metrics = [
        Metric("app_proxy_callbacks_waiting", "", {"app_id": site.world.settings.apps[section].app_id}, 4),
        Metric("app_proxy_callbacks_oldest_seconds", "", {"app_id": site.world.settings.apps[section].app_id}, 180),
    ]
    shown = cards(site.browser().page("/console/"))
    assert (shown["Alerts out"], shown["Failed tries"]) == ("160", "20.0 %")
    assert shown["Callbacks that wait for their plan"] == "4 the oldest for 3 min"
    assert int(shown["Messages in"].replace(",", "")) >= 200  # of all apps
    assert "p50" in shown["Latency"]


def test_a_lane_has_its_backlog_age_and_share_of_failed_tries(site: Site, store_url: str) -> None:
    section = section_of(site)
    keep(store_url, {settled(section, "mipush", Result.ACCEPTED): 3, settled(section, "mipush", Result.DEAD_LETTER): 1})
    labels = {"app": section, "channel": "mipush"}
    site.world.state.store_metrics = [
        Metric("app_proxy_jobs_waiting", "", labels, 1234),
        Metric("app_proxy_jobs_oldest_seconds", "", labels, 7200),
        Metric("app_proxy_jobs_retrying", "", labels, 5),
        Metric("app_proxy_lane_paused", "", labels, 1),
    ]
    html = site.browser().page("/console/")
    row = re.search(rf'<th scope="row">{section}/mipush(.*?)</tr>', html, re.DOTALL)
    assert row
    assert re.findall(r'class="number">([^<]*)<', row[1]) == ["1,234", "2 h", "5", "3", "25.0 %"]
    assert "paused" in row[1]


def test_a_page_without_a_store_says_so(site: Site) -> None:
    site.world.state.details = {"store": "the store does not answer"}
    site.world.state.ready = False
    site.world.state.store_metrics = None
    html = site.browser().page("/console/")
    assert "The service cannot do its work" in html
    assert "so there are no figures" in html


def test_who_may_reach_the_listener_may_look(site: Site) -> None:
    """There is no account and no message on it."""
    assert site.browser(FAR).get("/console/").status_code == 200


def line(*values: float | None) -> Line:
    return Line("alerts", values, str)


@pytest.mark.parametrize(
    ("most", "top"),
    [(0, 1), (0.004, 0.005), (0.2, 0.2), (0.7, 1), (1, 1), (3, 5), (5, 5), (11, 20), (499, 500), (501, 1000)],
)
def test_a_scale_ends_with_a_round_number(most: float, top: float) -> None:
    assert Plot("", [line(0, most)], NOW, NOW).top == pytest.approx(top)


def test_a_line_has_a_gap_where_there_was_nothing_to_measure() -> None:
    its = line(10, 5, None, 0, None)
    first, alone = Plot("", [its], NOW, NOW).paths(its)
    assert first == f"0.0,2.0 {WIDTH / 4:.1f},{HEIGHT / 2:.1f}"
    assert alone == f"{WIDTH * 3 / 4:.1f},118.0 {WIDTH * 3 / 4 + 3:.1f},118.0"
    assert its.last == "–"


def test_a_plot_says_in_words_what_it_shows(site: Site, store_url: str) -> None:
    keep(store_url, {settled(section_of(site), "apns", Result.ACCEPTED): 30}, NOW - timedelta(minutes=1))
    html = site.browser().page("/console/")
    labels = re.findall(r'role="img" aria-label="([^"]*)"', html)
    assert len(labels) == 4
    assert "per minute, last hour" in labels[0]
    assert "alerts: 30 at the end, 30 at most." in labels[0]
    assert ("11:01 UTC" in html, "12:00 UTC" in html) == (True, True)
