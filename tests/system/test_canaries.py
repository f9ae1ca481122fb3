"""No secret and no word of a message reaches a reader who should not have it, whatever goes well or wrong.

The rig's own secrets are the canaries, with those that are added here: each is unlike all others and is looked for in
everything that the processes print and answer.
"""

import base64
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import requests

from proxy.auth.credentials import Credentials
from proxy.channels.mipush.wire import MipushWire
from proxy.channels.webhooks.wire import WebhookWire
from proxy.curl import Route as TransportRoute
from proxy.domain.alerts import AlertText
from proxy.domain.callbacks import Callback
from proxy.domain.dead_letters import Cause
from proxy.domain.decisions import Decision, Result
from proxy.domain.devices import Device, Platform
from proxy.domain.forwards import Copy, Forward
from proxy.domain.jobs import ClaimedJob, Job, Push
from proxy.domain.lanes import Lane
from proxy.domain.offline_messages import Letter, offline_message
from proxy.domain.settlements import Again, Bury, Entry, Finish, Postpone
from proxy.domain.transfers import Response
from proxy.domain.webhooks import lane_of_webhook
from proxy.errors import BadCallback
from proxy.mimc.wire import parse_callback
from proxy.settings import Settings
from proxy.store.server.embedded import store_url
from proxy.wiring.web import web_services
from tests import stored
from tests.receiver import Receiver
from tests.system.rig import (
    APP_SECRET,
    JWT_KEY,
    MAIN,
    OTHER,
    PUSH_SECRET,
    URL_SECRET,
    Process,
    Rig,
    offline,
    offline_topic,
    push_token,
)

STORE_PASSWORD = "store-password-kq83nv"
PROXY_PASSWORD = "proxy-password-xw51mz"
WEBHOOK_SECRET, WEBHOOK_KEY = "whsec_" + "d2ViaG9vayBvZiBjYW5hcmllcywgMjQrIQ==", "webhook-key-mz83xq"
TEXT = "Text{}ofbobqz71"  # one word of letters and digits: the same however it is encoded
MARK = "ofbobqz71"


@pytest.fixture
def told(place: Path) -> Iterator["Told"]:
    """A rig whose processes log all they can, in one format or the other, on a store with a password."""
    alerts, receiver = {"withdraw": True, "badge": True}, Receiver(WEBHOOK_SECRET)
    receiver.answer = lambda webhook_id, _number: (204 if webhook_id.startswith("check") else 500, {})
    url = f"http://127.0.0.1:{receiver.port}/hooks?{WEBHOOK_KEY}"
    webhooks = [{"name": "crm", "app": "main", "url": url, "secret": WEBHOOK_SECRET, "keep_s": 3}]
    rig = Rig(place, mipush={"unknown_targets": "accept"}, http={}, alerts=alerts, webhooks=webhooks)
    with receiver, rig:
        rig.secret("text", MARK)
        rig.secret("webhook secret", WEBHOOK_SECRET)
        rig.secret("key in a webhook's address", WEBHOOK_KEY)
        rig.secret("store password", STORE_PASSWORD)
        variables = {
            "APP_PROXY_LOGS__FORMAT": "json",
            "APP_PROXY_LOGS__LEVEL": "debug",
            "APP_PROXY_STORE__URL": store_url(place / "store").replace("unix://", f"unix://canary:{STORE_PASSWORD}@"),
            "PYTHONWARNINGS": "default",
            "APP_PROXY_APPS__MAIN__API": "push,topic,history",
        }
        yield Told(rig, variables)


class Told:
    """A rig, and all that was answered to anybody; `answers` are for callers, `shown` is for the operator."""

    def __init__(self, rig: Rig, variables: dict[str, str]) -> None:
        self.rig, self.variables = rig, variables
        self.iphone, self.regid = push_token(), f"regid-{push_token()[:50]}"
        self.answers: list[str] = []
        self.shown: list[str] = []
        self.number = 0
        self.let_in()
        rig.start_web(2, **variables)
        self.worker = rig.start_worker(**self.of_the_worker)

    @property
    def of_the_worker(self) -> dict[str, str]:
        return {**self.variables, "APP_PROXY_LOGS__FORMAT": "console"}

    def let_in(self) -> None:
        """The store knows the password, until it ends."""
        with self.rig.redis() as redis:
            redis.execute_command("ACL", "SETUSER", "canary", "on", f">{STORE_PASSWORD}", "~*", "&*", "+@all")

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        answer = self.rig.http.request(method, f"{self.rig.web}{path}", timeout=10, **more)
        self.answers.append(f"{answer.headers} {answer.text}")
        return answer

    def token(self, account: str = "alice") -> requests.Response:
        """Asked through the rig's session alone: a good answer has a token in it."""
        headers = {"Authorization": f"Bearer {self.rig.bearer(account)}"}
        url = f"{self.rig.web}/api/account/token"
        return self.rig.http.post(url, json={"appId": MAIN}, headers=headers, timeout=10)

    def message(self, reader: str = "alice", app_id: str = MAIN, **more: Any) -> dict[str, Any]:
        """A callback with a text of its own."""
        self.number += 1
        body = offline("bob", reader, TEXT.format(self.number), self.number, app_id=app_id, **more)
        self.rig.secret("text in base64", body["payload"])
        return body

    def post(self, body: dict[str, Any], app_id: str = MAIN) -> int:
        return self.ask("POST", f"/callbacks/mimc/{URL_SECRET[app_id]}", json=body).status_code

    def command(self, *arguments: str, **variables: str) -> Process:
        """A command of the operator's, begun."""
        argv = [sys.executable, "-m", "proxy", *arguments]
        return self.rig.start(arguments[0], argv, **self.variables | variables)

    def look(self) -> None:
        """What the operator sees."""
        for url in (f"{self.rig.operator}/metrics", f"{self.rig.operator}/readyz", self.worker.facts["metrics"]):
            self.shown.append(self.rig.http.get(url, timeout=10).text)

    def leaks(self) -> list[str]:
        return self.rig.leaks("\n".join(self.answers), "\n".join(self.shown), *self._records())

    def _records(self) -> list[str]:
        """Dead letters, and what is kept of how messages ended."""
        kept = everything_kept(self.rig)
        with self.rig.redis() as redis:
            letters = {name.encode() for app_id in (MAIN, OTHER) for name in stored.dead_letters(redis, app_id)}
        records = [repr(record) for name, record in kept.items() if name in letters or b":history:" in name]
        assert len(records) > 2, "this test looks at nothing"
        return records


def test_nothing_secret_is_told_whatever_goes_well_or_wrong(told: Told) -> None:
    rig = told.rig
    all_goes_well(told)
    callers_are_refused(told)
    servers_show_api_keys(told)
    mimc_fails(told)
    apns_fails(told)
    mipush_fails(told)
    records_are_broken(told)
    commands_are_given(told)
    the_store_is_away(told)
    everything_ends_in_the_middle(told)
    assert told.leaks() == []
    assert credentials_in_journals(rig) == []
    printed = rig.everything_printed()
    for event in ("push settled", "lane paused", "callback planned", "job cannot be read", "worker stopped"):
        assert event in printed, f"{event}: this test looks at nothing"


def all_goes_well(told: Told) -> None:
    rig = told.rig
    assert rig.register("alice", "iphone", told.iphone).status_code == 200
    assert rig.register("alice", "xiaomi", told.regid, app_id=OTHER, platform="mipush").status_code == 200
    headers = {"Authorization": f"Bearer {rig.bearer('alice')}"}
    for path in ("/api/devices?app=main", "/api/devices/iphone?app=main", "/api/devices/xiaomi?app=other"):
        assert told.ask("GET", path, headers=headers).status_code == 200
    assert told.post(told.message()) == told.post(told.message(app_id=OTHER), OTHER) == 200
    group = offline_topic("bob", ["alice", "carol"], TEXT.format("group"), 900)
    assert told.post(group) == told.post(group) == 200
    data = told.token().json()["data"]
    rig.secret("MIMC token", data["token"])
    rig.secret("miUserSecurityKey", data["miUserSecurityKey"])
    rig.wait(lambda: len(rig.accepted(told.iphone)) == 2, "both alerts")
    rig.wait(lambda: rig.journal("mipush"), "the alert by regid")
    messages_are_read_and_recalled(told)
    with rig.redis() as redis:
        found = [str(redis.get(name)) for name in redis.scan_iter("*:provider-token:*")]
    for provider_token in (it for it in found if it.startswith("ey")):
        rig.secret("provider token", provider_token.rpartition(".")[2])


def messages_are_read_and_recalled(told: Told) -> None:
    """And the user looks at what became of their alerts, of which a sender of the developer's own has some."""
    rig = told.rig
    sender = rig.register("alice", "oppo", f"oppo-{told.regid}", app_id=OTHER, platform="http")
    assert sender.status_code == 200
    assert rig.register("alice", "hidden", push_token(), app_id=OTHER, preview="none").status_code == 200
    for app_id in (MAIN, OTHER):
        message = told.message(app_id=app_id)
        assert told.post(message, app_id) == 200
        for type_, by, to in (("TEXT_READ", "alice", "bob"), ("TEXT_RECALL", "bob", "alice")):
            notice = {**offline(by, to, "", 800, app_id=app_id), "msgType": "NORMAL_MSG"}
            notice |= {"packetId": f"{type_}", "payload": about(type_, told.number)}
            assert told.post(notice, app_id) == 200
    rig.wait(lambda: rig.journal("http"), "the alert by a sender of the developer's own")
    headers = {"Authorization": f"Bearer {rig.bearer('alice')}"}
    for app in ("main", "other"):
        assert told.ask("GET", f"/api/alerts?app={app}", headers=headers).json()["data"]["alerts"]
        assert told.ask("POST", "/api/badge", json={"app": app}, headers=headers).status_code == 200


def about(type_: str, number: int) -> str:
    inner = {"msgId": f"{type_}_{number}", "msgType": type_, "payload": f"TEXT_{number}"}
    return base64.b64encode(json.dumps(inner).encode()).decode()


def callers_are_refused(told: Told) -> None:
    rig = told.rig
    forged = rig.secret("forged bearer", jwt.encode({"sub": "alice", "exp": time.time() + 60}, "x" * 32, "HS256"))
    expired = rig.secret("expired bearer", jwt.encode({"sub": "alice", "exp": 1}, JWT_KEY, "HS256"))
    wrong = rig.secret("wrong url secret", "wrong-url-secret-0123456789")
    for bearer in (forged, expired, forged[:-9], "not.a.jwt", f"{forged} {forged}"):
        for scheme in ("Bearer", "Basic", "key="):
            headers = {"Authorization": f"{scheme} {bearer}", "Cookie": f"session={forged}; remember_token={forged}"}
            assert told.ask("POST", "/api/account/token", headers=headers).status_code == 401
            assert told.ask("PUT", "/api/devices/x", headers=headers, data=forged).status_code == 401
    good = told.message()
    for path in (f"/callbacks/mimc/{wrong}", f"//callbacks/mimc/{wrong}", f"/callbacks/mimc/{wrong}/x"):
        assert told.ask("POST", path, json=good).status_code == 404
        assert told.ask("GET", path).status_code in (404, 405)
    for name in good:
        word = "somebody" if name.endswith("Account") else MARK  # accounts are told: the history has them
        for value in (None, [good["payload"]], {MARK: good["payload"]}, word, 5):
            assert told.post({**good, name: value, "sequence": f"9{name}"}) in (200, 400, 404)
    assert told.post({**good, "authentication": base64.b64encode(MARK.encode() * 8).decode()}) == 403
    for raw in (json.dumps(good)[:-9], f'"{MARK}"', f"{MARK}\xff", "[" * 5000 + MARK):
        assert told.ask("POST", f"/callbacks/mimc/{URL_SECRET[MAIN]}", data=raw.encode("latin-1")).status_code == 400
    headers = {"Authorization": f"Bearer {rig.bearer('alice')}"}
    for body in ({"push_token": [told.iphone]}, {"platform": told.iphone}, {"push_token": f"{told.iphone}\n"}):
        registration = {"app": "main", "platform": "apns", "push_token": told.iphone, **body}
        assert told.ask("PUT", "/api/devices/x", json=registration, headers=headers).status_code == 400
    for body in ({"appAccount": forged}, {"appId": wrong}, {"appKey": "key-of-main", "appSecret": APP_SECRET[MAIN]}):
        told.ask("POST", "/api/account/token", json=body, headers=headers)
    speak_no_http(told, good)


def servers_show_api_keys(told: Told) -> None:
    """A good key opens no user's call; a revoked, a mangled and a made-up one open nothing."""
    rig = told.rig
    argv = [sys.executable, "-m", "proxy", "keys", "add", "bot", "--scope", "push:send", "--as", "bob", "--app", "main"]
    environment = {**os.environ, "APP_PROXY_CONFIG": str(rig.folder / "proxy.toml"), **told.variables}
    made = subprocess.run(argv, cwd=rig.program, env=environment, capture_output=True, text=True, check=True)
    good = rig.secret("API key", made.stdout.strip())
    rig.secret("API key's half", good[: len(good) // 2])
    for shown in (f"Bearer {good}", f"Bearer {good[:-9]}", good, f"Bearer {good} {good}", f"Basic {good}"):
        for method, path in (
            ("POST", "/api/account/token"),
            ("GET", "/api/preferences?app=main"),
            ("PUT", "/api/preferences?app=main"),
        ):
            assert told.ask(method, path, headers={"Authorization": shown}).status_code == 401
    services_call_mimc(told, {"Authorization": f"Bearer {good}"})
    for command in (("list",), ("revoke", "bot")):
        assert told.command("keys", *command).popen.wait(40) == 0
    told.ask("POST", "/api/push/p2p/", json={"toAccount": "carol", "msg": MARK}, headers={"Authorization": good})


def services_call_mimc(told: Told, shown: dict[str, str]) -> None:
    """What they write goes to MIMC and nowhere else, whatever MIMC says; and a user reads it in their history."""
    rig, path = told.rig, "/api/push/p2p/"
    words, key = TEXT.format("api"), {**shown, "Idempotency-Key": rig.secret("idempotency key", "idempotency-key-xz93")}
    rig.secret("text in base64", base64.b64encode(words.encode()).decode())
    message = {"toAccount": "carol", "msg": words}
    for body, status in ((message, 200), (message, 200), ({**message, "msg": f"{words}!"}, 422)):
        assert told.ask("POST", path, json=body, headers=key).status_code == status
    for wrong in ({"fromAccount": f"eve{MARK}"}, {"msg": words * 2000}, {"toAccount": [words]}, {"appId": MARK}):
        assert told.ask("POST", path, json=message | wrong, headers=shown).status_code in (400, 403, 404)
    assert told.ask("GET", f"/api/topic/{MAIN}/account", headers=shown).status_code == 403
    now_ms = int(time.time() * 1000)
    asked = {"fromAccount": "bob", "toAccount": "carol", "utcFromTime": now_ms - 60_000, "utcToTime": now_ms + 60_000}
    reader = {"Authorization": f"Bearer {rig.bearer('carol')}"}
    history = rig.http.post(f"{rig.web}/api/msg/p2p/queryOnTime/", json=asked, headers=reader)
    assert base64.b64encode(words.encode()).decode() in history.text or words in history.text, history.text
    echo = json.dumps({"appKey": "key-of-main", "appSecret": APP_SECRET[MAIN], "msg": words})
    for fault in ({"effect": "raw", "status": 500, "body": echo}, {"effect": "not_http"}, {"effect": "reset"}):
        rig.fault("mimc", times=1, **fault)
        assert told.ask("POST", path, json=message, headers=shown).status_code in (502, 504)


def speak_no_http(told: Told, message: dict[str, Any]) -> None:
    """What gunicorn refuses by itself, with secrets at every place of it."""
    path, body = f"/callbacks/mimc/{URL_SECRET[MAIN]}", json.dumps(message)
    heads = (
        f"POST {path} HTP/1.1\r\n", f"POST {path} HTTP/1.1\r\nContent-Length: {MARK}\r\n",
        f"POST {path} HTTP/1.1\r\nBad Header {MARK}: x\r\n", f"POST {path} HTTP/1.1\r\nContent-Length: 9999\r\n",
        f"POST {path} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", f"{MARK} {path}{'x' * 9000} HTTP/1.1\r\n",
    )  # fmt: skip
    for head in heads:
        connection = http.client.HTTPConnection(urlsplit(told.rig.web).netloc, timeout=10)
        connection.connect()
        connection.sock.sendall(f"{head}\r\n{body}".encode())
        connection.sock.shutdown(1)
        told.answers.append(connection.sock.recv(65536).decode())
        connection.close()


def mimc_fails(told: Told) -> None:
    echo = json.dumps({"appId": MAIN, "appKey": "key-of-main", "appSecret": APP_SECRET[MAIN], "appAccount": "alice"})
    faults: list[dict[str, Any]] = [
        {"effect": "raw", "status": 500, "body": echo}, {"effect": "raw", "body": f"<html>{echo}", "status": 403},
        {"effect": "not_http"}, {"effect": "truncated"}, {"effect": "reset"}, {"effect": "delay", "delay_ms": 2200},
    ]  # fmt: skip
    for fault in faults:
        told.rig.fault("mimc", times=1, **fault)
        answer = told.token()
        assert answer.status_code in (502, 504)
        told.answers.append(answer.text)


def apns_fails(told: Told) -> None:
    """Apple would never say such reasons; a gateway between us might say anything."""
    rig = told.rig
    before = told.worker
    for status, reason in (
        (400, f"cannot alert {MARK}"), (400, f"no {told.iphone}"), (400, told.iphone), (500, f"text {MARK}"),
        (429, f"slow down with {MARK}"), (410, f"gone {told.iphone}"), (400, "BadDeviceToken"),
    ):  # fmt: skip
        assert rig.register("alice", "iphone", told.iphone).status_code == 200
        rig.fault("apns", effect="answer", times=1, status=status, reason=reason)
        assert told.post(told.message()) == 200
    for effect in ("rst_stream", "goaway", "reset", "close"):
        rig.fault("apns", effect=effect, times=1, code=2, reason=f"debug data {MARK}")
        assert told.post(told.message()) == 200
    rig.settled()
    rig.fault("apns", effect="answer", times=2, status=403, reason="InvalidProviderToken")
    assert told.post(told.message()) == 200
    rig.wait(lambda: "paused" in str(rig.readiness()), "the pause of the lane")
    told.look()
    rig.settled()
    assert told.worker is before


def mipush_fails(told: Told) -> None:
    rig = told.rig
    echo = f"{PUSH_SECRET[OTHER]} {told.regid} {MARK}"
    faults: list[dict[str, Any]] = [
        {"effect": "code", "code": 10016, "reason": echo}, {"effect": "code", "code": 77777, "reason": echo},
        {"effect": "raw", "body": echo, "status": 500}, {"effect": "not_http"}, {"effect": "reset"},
        {"effect": "raw", "body": json.dumps({"code": echo, "reason": echo})},
        {"effect": "code", "code": 21301, "reason": echo},
    ]  # fmt: skip
    for fault in faults:
        rig.fault("mipush", times=1, **fault)
        assert told.post(told.message(app_id=OTHER), OTHER) == 200
        rig.wait(lambda: has_no_fault(rig, "mipush"), f"the fault {fault['effect']}")
    told.look()


def has_no_fault(rig: Rig, emulator: str) -> bool:
    found: dict[str, list[object]] = rig.http.get(f"{rig.control(emulator)}/faults", timeout=10).json()
    return not found["faults"]


def records_are_broken(told: Told) -> None:
    """Records that are no records, and such whose work raises what no code foresees."""
    rig = told.rig
    lane, by_regid = Lane(MAIN, "main", "apns"), Lane(OTHER, "other", "mipush")
    job = {
        "v": 1, "app": "main", "channel": "apns", "account": "alice", "device": "iphone", "message": "m1",
        "conv": "c", "text": [MARK, MARK], "order": [1, 2, 3], "until": int(time.time() * 1000) + 60_000,
        "attempt": 0, "second": 0,
    }  # fmt: skip
    strange: list[dict[str, Any]] = [
        {"text": MARK}, {"text": [{MARK: MARK}, [MARK]]}, {"order": [MARK, MARK, MARK]}, {"v": MARK}, {"until": MARK},
        {"attempt": MARK}, {"account": {MARK: 1}}, {"conv": [MARK]}, {"message": {MARK: 1}}, {"device": [MARK]},
    ]  # fmt: skip
    callback = {
        "v": 1, "id": "m2", "app": MAIN, "conv": "c", "from": "bob", "to": ["alice"], "payload": "e30=", "biz": "",
        "seq": "1", "sent": 0, "at": int(time.time() * 1000),
    }  # fmt: skip
    worse: list[dict[str, Any]] = [
        {"payload": f"{MARK}é"}, {"to": [MARK, {MARK: 1}]}, {"biz": {MARK: 1}}, {"from": [MARK]}, {"seq": {MARK: 1}},
        {"to": [{MARK: MARK}]}, {"conv": {MARK: 1}}, {"at": MARK}, {"sent": MARK},
    ]  # fmt: skip
    with rig.redis() as redis:
        for record in [f"{MARK}", f'{{"v":1,"{MARK}":', *(json.dumps(job | it) for it in strange)]:
            redis.xadd(stored.jobs(redis, lane)[0], {"r": record})
            redis.xadd(
                stored.jobs(redis, by_regid)[0], {"r": record.replace('"apns"', '"mipush"').replace("iphone", "xiaomi")}
            )
        for record in [f"{MARK}", *(json.dumps(callback | it) for it in worse)]:
            redis.xadd(stored.callbacks(redis, MAIN)[0], {"r": record})
        shown_of_every_line(redis, by_regid)
    for app_id in (MAIN, OTHER):
        assert told.post(told.message(app_id=app_id), app_id) == 200
    rig.wait(
        lambda: any(it.startswith("internal error") for it in rig.dead_letters(OTHER)),
        "a job whose work raised what no code foresees",
    )
    told.look()


def shown_of_every_line(redis: Any, lane: Lane) -> None:
    """What is read back as a number is a text that must not be told."""
    for name in redis.scan_iter(f"*:shown:{lane.app}:{lane.channel}:*"):
        redis.set(name, f"{MARK},{MARK},{MARK}")


def commands_are_given(told: Told) -> None:
    rig = told.rig
    rig.secret("proxy password", PROXY_PASSWORD)
    (rig.folder / "cut.p8").write_text((rig.folder / "main.p8").read_text()[:100])
    section = "APP_PROXY_APPS__MAIN"
    away = {
        "APP_PROXY_STORE__URL": f"redis://canary:{STORE_PASSWORD}@127.0.0.1:1/0",
        f"{section}__APNS__KEY_FILE": str(rig.folder / "cut.p8"),
        f"{section}__PROXY": f"http://canary:{PROXY_PASSWORD}@127.0.0.1:1",
        f"{section}__MIPUSH__APP_SECRET": rig.secret("wrong mipush secret", "wrong-mipush-secret"),
    }
    wrong = {
        "APP_PROXY_STORE__URL": f"redis://canary:{STORE_PASSWORD}/x@127.0.0.1:6379/0",
        "APP_PROXY_AUTH__JWT__OWN__ALGORITHMS": JWT_KEY,
        f"{section}__URL_SECRET": f"{URL_SECRET[MAIN]}/é",
        f"{section}__APP_ID": APP_SECRET[MAIN],
        f"{section}__APP_SECRETT": APP_SECRET[MAIN],
        f"{section}__MIPUSH__TEMPLATE__VARIABLES": PUSH_SECRET[MAIN],
        f"{section}__APNS__KEY_FILE": (rig.folder / "main.p8").read_text(),
        f"{section}__PROXY": f"http://canary:{PROXY_PASSWORD}/x@127.0.0.1:1",
    }
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "wsgi:app"]
    begun: dict[Process, int] = {
        told.command("devices", "list"): 0,
        told.command("dead-letters", "list"): 0,
        told.command("dead-letters", "show", "--all"): 0,
        told.command("dead-letters", "replay", "--all", "--dry-run"): 0,
        told.command("explain", "--account", "alice"): 0,
        told.command("explain", "--account", "alice", "--json"): 0,
        told.command("check-config"): 0,
        told.command("check-config", **away): 1,
        told.command("check-config", **wrong): 2,
        told.command("worker", **wrong): 2,
        rig.start("wrong-web", gunicorn, **told.variables | wrong): 2,
    }
    for process, code in begun.items():
        assert process.popen.wait(40) == code, process.log.read_text()
    told.look()


def the_store_is_away(told: Told) -> None:
    rig = told.rig
    rig.store.kill()
    for _ in range(2):
        assert told.post(told.message()) == 503
    headers = {"Authorization": f"Bearer {rig.bearer('alice')}"}
    assert told.ask("GET", "/api/devices?app=main", headers=headers).status_code == 503
    told.look()
    assert told.command("dead-letters", "list").popen.wait(40) == 1
    rig.store = rig.start_store()
    rig.wait(lambda: told.post(told.message()) == 503, "a store that does not know the password any more")
    told.look()
    told.let_in()
    rig.wait(lambda: told.post(told.message()) == 200, "the store's return")


def everything_ends_in_the_middle(told: Told) -> None:
    rig = told.rig
    rig.fault("apns", effect="silence")
    rig.fault("mipush", effect="silence", delay_ms=3000)
    for _ in range(5):
        assert told.post(told.message()) == told.post(told.message(app_id=OTHER), OTHER) == 200
    rig.wait(lambda: rig.holders().get(told.worker.popen.pid, 0) > 0, "jobs in flight")
    assert told.worker.stop() == 0


def credentials_in_journals(rig: Rig) -> list[str]:
    """An emulator's journal tells texts and push tokens, which is what it is for; never a credential."""
    journals = [json.dumps(rig.journal(name)) for name in ("mimc", "apns", "mipush", "http")]
    found = [it for it in rig.leaks(*journals) if " in printed " in it]
    return [it for it in found if not it.startswith(("text", "push token"))]


REFUSED: dict[str, dict[str, Any]] = {
    "apns": {"effect": "answer", "status": 400, "reason": "BadPriority"},
    "mipush": {"effect": "code", "code": 10016},
    "http": {"effect": "status", "status": 400},
}
BUSY: dict[str, dict[str, Any]] = {
    "apns": {"effect": "no_body_503"},
    "mipush": {"effect": "status", "status": 503},
    "http": {"effect": "status", "status": 503},
}


@pytest.mark.trial
def test_where_nothing_is_to_be_shown_no_byte_of_a_text_or_name_is_anywhere(place: Path) -> None:
    variables = {"APP_PROXY_LOGS__LEVEL": "debug"} | {
        f"APP_PROXY_APPS__{app}__MESSAGES__{name}": value
        for app in ("MAIN", "OTHER")
        for name, value in (("PREVIEW", "none"), ("SENDER_NAME", "from"), ("GROUP_NAME", "group"))
    }
    alerts = {"withdraw": True, "badge": True}
    with Rig(place, mipush={"unknown_targets": "accept"}, http={}, alerts=alerts, without=["mimc"]) as rig:
        for kind in ("text", "from", "group"):
            rig.secret(kind, f"{kind}{MARK}")
        rig.start_web(1, **variables)
        rig.start_worker(**variables)
        for app_id, platform in ((MAIN, "apns"), (OTHER, "apns"), (OTHER, "mipush"), (OTHER, "http")):
            assert rig.register("alice", platform, push_token(), app_id=app_id, platform=platform).status_code == 200
        tell_all(rig, 1)
        for app_id in (MAIN, OTHER):
            rig.settled(app_id)
            recall = {**offline("bob", "alice", "", 800, app_id=app_id), "payload": about("TEXT_RECALL", 1)}
            assert rig.post(recall, app_id).status_code == 200
        rig.wait(lambda: any(it.get("kind") == "revoke" for it in rig.journal("mipush")), "the withdrawal")
        for emulator, fault in REFUSED.items():
            rig.fault(emulator, **fault)
        tell_all(rig, 2)
        for app_id in (MAIN, OTHER):
            rig.wait(partial(rig.dead_letters, app_id), "a dead letter")
        for emulator, fault in BUSY.items():
            rig.end_faults(emulator)
            rig.fault(emulator, **fault)
        tell_all(rig, 3)
        for app_id in (MAIN, OTHER):
            rig.wait(partial(all_is_planned, rig, app_id), "the plan")
        journals = {name: rig.journal(name) for name in ("apns", "mipush", "http")}
        headers = {"Authorization": f"Bearer {rig.bearer('alice')}"}
        told = [rig.http.get(f"{rig.web}/api/alerts?app={app}", headers=headers).text for app in ("main", "other")]
        explained = rig.start("explain", [sys.executable, "-m", "proxy", "explain", "--account", "alice"], **variables)
        assert explained.popen.wait(40) == 0
        found = rig.leaks(json.dumps(journals), *told, repr(everything_kept(rig)))
        assert [it for it in found if not it.startswith("push token")] == []
        assert all(any(it.get("accepted") or it.get("outcome") == "accepted" for it in of) for of in journals.values())
        assert all('"result":"accepted"' in text and '"result":"dead letter"' in text for text in told)
        assert rig.backlog(MAIN)
        assert rig.backlog(OTHER)


def everything_kept(rig: Rig) -> dict[bytes, Any]:
    """All that the store holds."""
    from redis import Redis  # noqa: PLC0415  as in the rig

    read: dict[bytes, Any] = {}
    with Redis.from_url(store_url(rig.folder / "store")) as redis:
        for name in redis.scan_iter():
            match redis.type(name):
                case b"stream":
                    read[name] = redis.xrange(name)
                case b"hash":
                    read[name] = redis.hgetall(name)
                case b"zset":
                    read[name] = redis.zrange(name, 0, -1)
                case b"set":
                    read[name] = redis.smembers(name)
                case b"string":
                    read[name] = redis.get(name)
    return read


def all_is_planned(rig: Rig, app_id: str) -> bool:
    with rig.redis() as redis:
        return not stored.length(redis, stored.callbacks(redis, app_id))


def tell_all(rig: Rig, number: int) -> None:
    """Two people's talk and a group's in both apps, with names and a text."""
    said = {"payload": f"text{MARK}", "from": f"from{MARK}", "group": f"group{MARK}"}
    inner = {"msgId": f"TEXT_{number}", "msgType": "TEXT", **said}
    payload = rig.secret("payload", base64.b64encode(json.dumps(inner).encode()).decode())
    for app_id in (MAIN, OTHER):
        for body in (
            offline("bob", "alice", "", number, app_id=app_id, payload=payload),
            offline_topic("bob", ["alice", "carol"], "", 500 + number, app_id=app_id, payload=payload),
        ):
            assert rig.post(body, app_id).status_code == 200


def test_no_repr_of_ours_shows_a_secret_or_a_word_of_a_message(place: Path) -> None:
    place.mkdir()
    canary = "canary" * 8
    section = {"app_id": 1, "app_key": canary, "app_secret": canary, "url_secret": canary}
    proxy = f"http://{canary}:{canary}@10.0.0.1:3128"
    mipush = {"app_secret": canary, "package": "com.example", "proxy": proxy}
    settings = Settings.model_validate({
        "auth": {"jwt": {"own": {"secret": canary}}}, "store": {"url": f"redis://{canary}:{canary}@127.0.0.1/0"},
        "apps": {"main": {**section, "proxy": proxy, "mipush": mipush}},
        "webhooks": [{"name": "crm", "app": "main", "url": f"https://crm.example.com/{canary}",
                      "secret": f"whsec_{canary}", "proxy": proxy}],
    })  # fmt: skip
    services = web_services(settings)
    body = offline("bob", "alice", canary, 1, authentication=canary, toAppId="1", fromAppId="1")
    callback = parse_callback(json.dumps(body).encode())
    assert isinstance(callback, Callback)
    message = offline_message(callback, services.now())
    alert = message.alert(AlertText(canary, canary), timedelta(hours=1))
    device = Device("main", "alice", "phone", Platform.MIPUSH, canary, services.now())
    job = Job("main", "mipush", "alice", "phone", alert)
    lane = lane_of_webhook("1", "main", "crm")
    forward = Forward("main", lane.channel, "id", "OFFLINE_MSG", services.now(), canary.encode())
    webhook_wire = WebhookWire(settings.webhooks[0])
    push = Push(job, device)
    wire = MipushWire(settings.apps["main"].mipush or pytest.fail("no section"))
    request = wire.build([push], f"key={canary}", services.now())
    answer = Response(200, {"set-cookie": canary}, canary.encode())
    entry = Entry(b"1-1", canary.encode())
    shown = [
        settings, services, callback, message, alert, device, job, push, wire, request, answer, entry,
        *vars(services).values(), Credentials(f"Bearer {canary}", {"session": canary}),
        Bury(b"1-1", Cause.POISON, "poison", job), Bury(b"1-1", Cause.POISON, "poison", message),
        Bury(b"1-1", Cause.UNREADABLE, "unreadable record", entry),
        Postpone(b"1-1", job, services.now()), Decision(Finish(b"1-1"), Result.ACCEPTED),
        TransportRoute(None, proxy), ClaimedJob(b"1-1", job), BadCallback("payload", expected="base64", got=canary),
        ignored_of(body, canary), forward, Copy(lane, forward, 1), Letter(message, "id", (Copy(lane, forward, 1),)),
        webhook_wire, webhook_wire.build(forward, services.now()), Again(b"1-1", forward, services.now()),
        Bury(b"1-1", Cause.EXPIRED, "late", forward),
    ]  # fmt: skip
    found = [type(it).__name__ for it in shown if "canary" in f"{it!r} {it}" or body["payload"] in repr(it)]
    assert found == []


def ignored_of(body: dict[str, Any], canary: str) -> object:
    return parse_callback(json.dumps({**body, "msgType": "UCTOPIC_MSG", "authentication": canary}).encode())
