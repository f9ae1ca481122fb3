"""The page of the emulators' phones, over emulators that are served here; pushes to APNs are put into its journal."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from pydantic import ValidationError

from proxy.domain.lanes import PauseKind
from proxy.emulators.apns.config import ApnsConfig
from proxy.emulators.apns.control import control_app
from proxy.emulators.apns.rules import Device
from proxy.emulators.apns.shared import Shared
from proxy.emulators.control import Fault
from proxy.emulators.http import Sender, SenderConfig, sender_app
from proxy.emulators.mimc import Mimc, MimcConfig, mimc_app
from proxy.emulators.mipush import Mipush, MipushConfig, mipush_app
from proxy.emulators.server import threaded_server
from proxy.settings.console import EmulatorSettings
from proxy.store.connection import Store
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.web.console.emulated import FAULTS, Emulators
from tests.emulators.apns_peer import section
from tests.emulators.mimc_peer import Listener, listening_for_callbacks
from tests.store.samples import with_redis
from tests.web.console.site import FAR, LANE, Browser, Site, csrf_in
from tests.web.world import NOW

PHONES, LIVE = "/console/phones", "/console/live/phones"
TOKEN = "ab" * 32


@dataclass
class Emulated:
    """The emulators in this process, and where they take orders."""

    mimc: Mimc
    apns: Shared
    mipush: Mipush
    listener: Listener
    addresses: EmulatorSettings

    def push(self, words: str, item: str, **payload: Any) -> None:
        """One that APNs accepted, for alice's iPhone; `payload` is merged into the push."""
        aps = {"alert": {"title": "bob", "body": words}, "thread-id": "p2p:bob", **payload.pop("aps", {})}
        facts = {"accepted": True, "answered": True, "status": 200, "reason": None, "lost": None, **payload}
        said = {"aps": aps, "mimc": {"conversation": "p2p:bob"}}
        kept = {"device_token": TOKEN, "collapse_id": item, "apns_id": item, "push_type": "alert", "priority": "10"}
        at = len(self.apns.journal.read()[0])
        self.apns.journal.write(**{**kept, "came_ms": at, "payload": said, **facts})


@contextmanager
def served(app: Flask) -> Iterator[str]:
    server = threaded_server(app, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    with ExitStack() as stack:
        listener = stack.enter_context(listening_for_callbacks())
        chat = {"app_id": "1", "app_key": "mimc-key-canary", "app_secret": "mimc-secret-canary"}
        mimc = Mimc(MimcConfig.model_validate({"apps": [{**chat, "callback_url": f"{listener.url}/url-canary"}]}))
        stack.callback(mimc.webhooks.close)
        apns = Shared(ApnsConfig.model_validate(section(tmp_path_factory.mktemp("apns"))), lambda: None)
        push = {"package": "com.example.chat", "app_secret": "push-secret-canary"}
        mipush = Mipush(MipushConfig.model_validate({"apps": [push], "require_template": False}))
        stack.callback(mipush.webhooks.close)
        sender = Sender(SenderConfig(secrets=("whsec_ZW11bGF0ZWQtc2VuZGVyLW9wZW5zLW5vdGhpbmc=",)))
        loop = asyncio.new_event_loop()
        stack.callback(loop.close)
        apps = {
            "mimc": mimc_app(mimc), "apns": control_app(apns, [], loop), "mipush": mipush_app(mipush),
            "http": sender_app(sender),
        }  # fmt: skip
        addresses = {name: stack.enter_context(served(app)) for name, app in apps.items()}
        yield Emulated(mimc, apns, mipush, listener, EmulatorSettings.model_validate(addresses))


@pytest.fixture
def emulated(started: Emulated) -> Emulated:
    started.apns.journal.clear()
    started.apns.faults.clear()
    started.listener.bodies.clear()
    started.apns.devices[TOKEN] = Device(phone="alices-iphone")
    return started


@pytest.fixture
def site(tmp_path: Path, store: Store, emulated: Emulated) -> Site:
    return Site(tmp_path, store, emulators=Emulators(emulated.addresses))


def order(browser: Browser, path: str, **fields: str) -> None:
    answer = browser.form(PHONES, f"{PHONES}/{path}", **fields)
    assert (answer.status_code, answer.headers["Location"]) == (303, PHONES), answer.text


def callbacks(emulated: Emulated) -> list[dict[str, Any]]:
    assert emulated.mimc.webhooks.wait_until_idle(20) == 0
    return [body for _, body in emulated.listener.bodies]


def test_without_emulators_there_is_no_such_page(tmp_path: Path, store: Store) -> None:
    browser = Site(tmp_path, store).browser()
    assert browser.get(PHONES).status_code == 404
    assert PHONES not in browser.page("/console/")


def test_a_phone_shows_its_alerts_by_conversation_with_the_number_of_unread(site: Site, emulated: Emulated) -> None:
    emulated.push("first", "m1", aps={"badge": 1})
    emulated.push("second", "m2", aps={"badge": 2})
    emulated.push("for none", "m3", accepted=False, status=410, reason="Unregistered")
    html = site.browser().page(PHONES)
    assert html.index("second") < html.index("first")
    assert 'aria-label="alices-iphone"' in html
    assert ">2</span>" in html  # of the thread, and of the badge
    assert "Unread: 2" in html
    assert 'data-said="alices-iphone: bob: second"' in html
    assert "410 Unregistered" in html
    assert html.count("for none") == 1  # on the wire, and on no phone


def test_what_is_withdrawn_goes_and_the_part_has_a_new_etag(site: Site, emulated: Emulated) -> None:
    browser = site.browser()
    emulated.push("to be read", "m1")
    tag = browser.get(LIVE).headers["ETag"]
    assert browser.get(LIVE, {"If-None-Match": tag}).status_code == 304
    gone = {"aps": {"content-available": 1}, "mimc": {"withdrawn": "read", "message": "m1", "conversation": "p2p:bob"}}
    emulated.push("", "m2", push_type="background", payload=gone)
    answer = browser.get(LIVE, {"If-None-Match": tag})
    assert answer.status_code == 200
    assert "data-alert" not in answer.text


def test_bob_writes_to_alice_and_into_the_group_and_takes_it_back(site: Site, emulated: Emulated) -> None:
    browser = site.browser()
    order(browser, "write", text="hello", to="alice")
    order(browser, "write", text="hello all", to="group")
    normal, offline, normal_topic, offline_topic = sorted(callbacks(emulated), key=lambda it: int(it["sequence"]))
    assert {normal["msgType"], offline["msgType"]} == {"NORMAL_MSG", "OFFLINE_MSG"}
    assert {normal_topic["msgType"], offline_topic["msgType"]} == {"NORMAL_TOPIC_MSG", "OFFLINE_TOPIC_MSG"}
    emulated.listener.bodies.clear()
    html = browser.page(PHONES)
    assert "hello all" in html
    order(browser, "recall", sequence=normal_topic["sequence"])
    order(browser, "read", sequence=normal["sequence"], account="alice")
    recall, read = sorted(callbacks(emulated), key=lambda it: int(it["sequence"]))
    assert (recall["msgType"], recall["fromAccount"]) == ("NORMAL_TOPIC_MSG", "bob")
    assert (read["msgType"], read["fromAccount"], read["toAccount"]) == ("NORMAL_MSG", "alice", "bob")
    html = browser.page(PHONES)
    assert "recalled" in html
    assert "alice has read it" in html


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("write", {"text": "x", "to": "mallory"}, 400),
        ("write", {"text": " ", "to": "alice"}, 400),
        ("recall", {"sequence": "1"}, 404),
        ("read", {"sequence": "1", "account": "alice"}, 404),
        ("fault", {"fault": "fire", "on": "true"}, 400),
    ],
)
def test_what_makes_no_sense_is_refused(site: Site, path: str, fields: dict[str, str], status: int) -> None:
    assert site.browser().form(PHONES, f"{PHONES}/{path}", **fields).status_code == status


def test_a_switch_orders_one_fault_and_ends_it(site: Site, emulated: Emulated) -> None:
    browser, faults = site.browser(), emulated.apns.faults
    for name, ordered in FAULTS.items():
        order(browser, "fault", fault=name, on="true")
        assert faults.in_force() == [Fault(**ordered)]
        html = browser.page(PHONES)
        assert html.count('aria-checked="true"') == 1
        assert f'id="fault-{name}" type="submit" class="switch" role="switch" aria-checked="true"' in html
    order(browser, "fault", fault=name, on="false")
    assert faults.in_force() == []
    assert 'aria-checked="true"' not in browser.page(PHONES)


def test_htmx_gets_the_part_that_changes_at_once(site: Site) -> None:
    browser = site.browser()
    fields = {"csrf": csrf_in(browser.page(PHONES)), "fault": "slow", "on": "true"}
    answer = browser.post(f"{PHONES}/fault", fields, {"HX-Request": "true"})
    assert answer.status_code == 200
    assert answer.text.startswith('<div id="live-phones_live"')
    assert 'hx-trigger="every 1s"' in answer.text
    assert 'aria-checked="true"' in answer.text


def test_a_lane_that_waits_is_shown(site: Site, store_url: str) -> None:
    assert "No alert waits" in site.browser().page(PHONES)

    async def pause(redis: Any) -> None:
        await RedisLaneStates(redis).pause(LANE, "InvalidProviderToken", NOW, NOW, PauseKind.FAULT)

    with_redis(store_url, pause)
    html = site.browser().page(PHONES)
    assert "main/apns" in html
    assert "InvalidProviderToken" in html.partition("What waits")[2]


def test_no_order_is_taken_from_another_machine_or_another_site(site: Site, emulated: Emulated) -> None:
    fields = {"fault": "down", "on": "true"}
    near, far = site.browser(), site.signed_in(peer=FAR)
    page = far.page(PHONES)  # who has signed in may look
    assert far.post(f"{PHONES}/fault", {"csrf": csrf_in(page), **fields}).status_code == 403
    token = csrf_in(near.page(PHONES))
    for more in ({"Origin": "http://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert near.post(f"{PHONES}/fault", {"csrf": token, **fields}, more).status_code == 403
    assert near.post(f"{PHONES}/fault", fields).status_code == 403
    assert emulated.apns.faults.in_force() == []
    assert site.browser(FAR).get(PHONES).status_code == 303


def test_no_secret_and_no_token_is_on_the_page(site: Site, emulated: Emulated) -> None:
    order(site.browser(), "write", text="hello", to="alice")
    callbacks(emulated)
    emulated.push("hello", "m1")
    html = site.browser().page(PHONES)
    assert "OFFLINE_MSG" in html
    assert "canary" not in html
    assert TOKEN not in html


def test_emulators_that_are_away_are_a_sentence_and_no_fault(tmp_path: Path, store: Store, emulated: Emulated) -> None:
    nowhere = emulated.addresses.model_copy(update={"mimc": "http://127.0.0.1:1"})
    browser = Site(tmp_path, store, emulators=Emulators(nowhere)).browser()
    assert "The emulators do not answer" in browser.page(PHONES)
    assert browser.form(PHONES, f"{PHONES}/write", text="x", to="alice").status_code == 503


@pytest.mark.parametrize(
    "wrong", ["https://127.0.0.1:1", "http://192.0.2.7:1", "http://emulators.example:1", "http://127.0.0.1:1/path", "x"]
)
def test_only_emulators_of_this_machine_can_be_named(wrong: str) -> None:
    good = dict.fromkeys(("mimc", "apns", "mipush", "http"), "http://127.0.0.1:8601")
    assert EmulatorSettings.model_validate({**good, "http": "http://[::1]:8605"}).http == "http://[::1]:8605"
    with pytest.raises(ValidationError):
        EmulatorSettings.model_validate({**good, "apns": wrong})
