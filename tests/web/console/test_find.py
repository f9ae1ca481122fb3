"""The page that says what became of messages, and why there was no alert."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.domain.devices import Device, Platform
from proxy.domain.history import Note, Reason
from proxy.domain.jobs import Try
from proxy.domain.lanes import Lane, PauseKind
from proxy.domain.preferences import Mute, Preferences
from proxy.domain.previews import Preview
from proxy.domain.timeline import Step
from proxy.domain.times import to_ms
from proxy.store.connection import Store
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.history_records import NotesOfMessage
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.users.blocks import RedisBlocks
from proxy.store.users.preferences import RedisPreferences
from proxy.web.console import words
from tests.store.samples import job, put_jobs, queue_of, with_redis
from tests.web.console.site import FAR, Site
from tests.web.world import NOW, app_section, mipush_section

NOW_MS = to_ms(NOW)
MESSAGE = "00000000000000aa"


class Finding:
    """An app of its own in the store, and bob."""

    def __init__(self, folder: Path, store: Store, url: str, app_id: str) -> None:
        self.url, self.app_id, self.lane = url, app_id, Lane(app_id, "main", "mipush")
        apps = {"main": app_section(app_id=app_id, mipush=mipush_section())}
        self.site = Site(folder, store, [self.lane, Lane(app_id, "main", "webhook-crm")], apps=apps)
        self.devices = RedisDeviceRegistry(store, {"main": app_id})
        self.preferences, self.blocks = RedisPreferences(store, {"main": app_id}), RedisBlocks(store)
        self.note = Note(
            MESSAGE, "p2p:ann", NOW_MS - 5000, NOW_MS - 6000, "accepted", "bob", "phone", "main", "mipush",
            planned_at_ms=NOW_MS - 4990, pushed_at_ms=NOW_MS - 4980, ended_at_ms=NOW_MS - 4900,
        )  # fmt: skip

    def noted(self, **changes: Any) -> None:
        notes = NotesOfMessage()
        notes.add([replace(self.note, **changes)])
        self.redis(lambda redis: queue_of(redis).append_notes(self.app_id, notes.records()))

    def ended(self, result: str, **changes: Any) -> None:
        """Without a push."""
        self.noted(result=result, planned_at_ms=0, pushed_at_ms=0, ended_at_ms=0, **changes)

    def redis(self, do: Any) -> None:
        with_redis(self.url, do)

    def page(self, **asked: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in asked.items())
        return self.site.browser().page(f"/console/find?{query}")


@pytest.fixture
def finding(tmp_path: Path, store: Store, store_url: str, app_id: str) -> Finding:
    return Finding(tmp_path, store, store_url, app_id)


def test_what_became_of_an_accounts_message_is_told_step_by_step(finding: Finding) -> None:
    finding.noted(tries=(Try(NOW - timedelta(seconds=4), "503 <busy>"),))
    html = finding.page(account="bob")
    for told in ("11:59:54.000", "11:59:55.000", "MIMC sent", "tried", "503 &lt;busy&gt;", "answered", "main/mipush"):
        assert told in html
    assert f'href="/console/find?message={MESSAGE}"' in html
    assert 'href="/console/find?conversation=p2p:ann"' in html


@pytest.mark.parametrize(
    "asked",
    [{"message": MESSAGE}, {"message": f"{MESSAGE}5d41402abc4b2a76"}, {"device": "phone"}, {"conversation": "p2p:ann"},
     {"account": "bob", "device": "phone"}, {"since": "2026-11-23T11:59:00"}],
)  # fmt: skip
def test_it_is_found_by_message_device_conversation_and_time(finding: Finding, asked: dict[str, str]) -> None:
    finding.noted()
    assert "answered" in finding.page(**asked)


@pytest.mark.parametrize(
    "asked",
    [{"message": "00000000000000ab"}, {"device": "pad"}, {"conversation": "p2p:bea"}, {"account": "cai"},
     {"account": "bob", "device": "pad"}, {"since": "2026-11-23T12:00:01"}, {"until": "2026-11-23T11:00:00"},
     {"account": "bob", "until": "2026-11-23T11:00:00"}],
)  # fmt: skip
def test_what_is_about_others_is_not_found(finding: Finding, asked: dict[str, str]) -> None:
    finding.noted()
    html = finding.page(**asked)
    assert "answered" not in html
    assert "No message: none was planned" in html


def test_a_group_is_named_by_its_id(finding: Finding) -> None:
    finding.noted(conversation="topic:7")
    for asked in ("7", "topic:7"):
        assert "answered" in finding.page(conversation=asked)


def test_why_not_is_told_with_what_is_set_for_the_account_now(finding: Finding) -> None:
    finding.ended(Reason.MUTED)
    finding.preferences.write("main", "bob", Preferences({"p2p:ann": Mute()}, None, Preview.SENDER), None)
    token = f"canary-{finding.app_id}"
    finding.devices.register(Device("main", "bob", "phone-9", Platform.MIPUSH, token, NOW, invalid_reason=""))
    finding.blocks.block("bob")
    try:
        html = finding.page(account="bob")
    finally:
        finding.blocks.unblock("bob")
    for told in ("conversation is muted", "p2p:ann is muted", "Alerts show: sender", "phone-9", "is blocked"):
        assert told in html
    assert "canary" not in html
    assert "No device is registered" in finding.page(account="cai")


def test_what_waits_says_for_what(finding: Finding) -> None:
    states = RedisLaneStates.pause
    finding.redis(lambda redis: put_jobs(redis, finding.lane, [job(finding.lane, "bob")]))
    finding.redis(lambda redis: states(RedisLaneStates(redis), finding.lane, "wrong key", NOW, NOW, PauseKind.FAULT))
    html = finding.page(account="bob")
    assert "waits in its lane: the lane is paused (fault): wrong key" in html
    assert "waits in its lane" not in finding.page(account="bob", until="2026-11-23T11:59:59")  # it waits now


def test_the_page_says_where_it_is_not_all(finding: Finding) -> None:
    for n in range(201):
        finding.ended(Reason.NO_DEVICE, message_id=f"{n:016x}")
    html = finding.page(account="bob")
    assert html.count("no device") == 200
    assert "Only the latest 200 are shown" in html
    assert "Only the latest" not in finding.page(account="cai")


def test_nothing_is_looked_for_before_it_is_asked(finding: Finding) -> None:
    finding.noted()
    html = finding.page()
    assert "history" not in html.split("<main")[1].split("</form>")[1]
    assert "No message" not in html


def test_the_form_keeps_what_was_asked_and_shows_it_as_text(finding: Finding) -> None:
    assert 'value="&#34;&gt;&lt;b&gt;"' in finding.page(account="%22><b>")


IMPOSSIBLE = [
    "yesterday", "2026-13-01", "1", "1969-12-31T23:59", "0001-01-01T00:00%2B23:59", "9999-12-31T23:59",
    "9999-12-31T23:59-23:59",
]  # fmt: skip


@pytest.mark.parametrize("asked", IMPOSSIBLE)
@pytest.mark.parametrize("name", ["since", "until"])
def test_what_is_no_time_is_told(finding: Finding, name: str, asked: str) -> None:
    """The store is not asked: what it refuses would count as if it were away, for all callers of this process."""
    answer = finding.site.browser().get(f"/console/find?{name}={asked}")
    assert answer.status_code == 400
    assert f"{name}: expected a time like" in answer.text
    assert not finding.site.store.is_away


def test_each_app_is_asked_once_and_one_can_be_chosen(tmp_path: Path, store: Store, app_id: str) -> None:
    other = str(int(app_id) + 1)
    apps = {
        "main": app_section(app_id=app_id),
        "second": app_section(app_id=app_id, url_secret="url-secret-of-second-0000000000"),
        "other": app_section(app_id=other, url_secret="url-secret-of-other-00000000000"),
    }
    browser = Site(tmp_path, store, [], apps=apps).browser()
    html = browser.page("/console/find?account=bob")
    assert [html.count(f"appId {it}") for it in (app_id, other)] == [1, 1]
    html = browser.page("/console/find?account=bob&app=other")
    assert [html.count(f"appId {it}") for it in (app_id, other)] == [0, 1]


def test_it_is_private(finding: Finding) -> None:
    finding.noted()
    answer = finding.site.browser(FAR).get("/console/find?account=bob")
    assert answer.status_code == 403
    assert "answered" not in answer.text
    assert "answered" in finding.site.signed_in(peer=FAR).page("/console/find?account=bob")


def test_each_step_has_its_word() -> None:
    for language in words.LANGUAGES:
        assert {f"find.step.{step.name.lower()}" for step in Step} <= words.catalogue(language).keys()
