"""The main job once, step by step: a token, offline messages to three phones, and MIMC's own API behind us."""

import json
import secrets
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from proxy.errors import ProxyError
from proxy.local.apps import PhoneApps
from proxy.local.processes import DemoEnvironment

ALICE_PHONE = "alices-iphone"
CAROL_PHONE = "carols-xiaomi"
DORA_PHONE = "doras-oppo"
BY_HAND = "by-hand.sh"
_PATIENCE_S = 60.0


class ScenarioFailed(ProxyError):
    """A step did not come out as it should."""


@dataclass(frozen=True)
class Alert:
    """What a phone shows."""

    phone: str
    title: str
    body: str
    seconds: float


class Scenario:
    """Plays alice, bob, carol and dora, and a bot that shows `api_key`. `say` gets one line at a time."""

    def __init__(self, environment: DemoEnvironment, apps: PhoneApps, api_key: str, say: Callable[[str], None]) -> None:
        self._environment = environment
        self._apps = apps
        self._api_key = api_key
        self._app_id = ""
        self._say = say
        self._http = requests.Session()
        self._http.trust_env = False
        self._iphone = secrets.token_hex(32)

    def run(self) -> None:
        """Raises ScenarioFailed with the step that went wrong."""
        self._sign_in()
        self._show_phones()
        self._message(
            "3. bob writes to alice, who is offline",
            {"from_account": "bob", "to_account": "alice", "text": "Are you there? The tickets have come."},
            {ALICE_PHONE},
        )
        self._message(
            "4. bob writes into the group of alice, bob, carol and dora; his friends are offline",
            {"from_account": "bob", "members": ["alice", "bob", "carol", "dora"], "text": "Dinner at eight?"},
            {ALICE_PHONE, CAROL_PHONE, DORA_PHONE},
        )
        topic_id = self._make_group("5. alice makes a group of her own, by MIMC's own call and with her own session")
        self._push(
            "6. a bot of yours writes into it, with an API key; MIMC's appSecret never left this service", topic_id
        )

    def _sign_in(self) -> None:
        self._say("1. alice signs in; her app asks the broker for a MIMC token")
        answer = self._http.post(
            f"{self._environment.web}/api/account/token", headers=self._apps.as_user("alice"), timeout=30
        )
        self._expect(answer, "the token call")
        if answer.json().get("code") != 200:
            raise ScenarioFailed("the TokenService refused")
        self._app_id = answer.json()["data"]["appId"]
        self._say(f"   {answer.status_code} {answer.headers['Content-Type']}, {len(answer.content)} bytes, untouched:")
        self._say(f"   {shortened(answer.json())}")

    def _show_phones(self) -> None:
        self._say("2. alice's iPhone registers its push token, and dora's OPPO what your own sender knows it by;")
        self._say("   carol's Xiaomi phone has set its user account")
        self._register("alice", ALICE_PHONE, platform="apns", push_token=self._iphone, environment="sandbox")
        self._register("dora", DORA_PHONE, platform="http", push_token=f"oppo:{self._iphone[:8]}")
        phone: dict[str, Any] = {"phone": CAROL_PHONE, "accounts": ["carol"]}
        self._expect(self._http.post(f"{self._mipush}/_emulator/devices", json=phone, timeout=30), "carol's phone")
        phone = {"phone": ALICE_PHONE, "device_token": self._iphone}  # so that all who look can tell whose it is
        self._expect(
            self._http.post(f"{self._apns_control}/_emulator/devices", json=phone, timeout=30), "alice's phone"
        )
        self._say(f"   PUT /api/devices/{ALICE_PHONE} -> 200, PUT /api/devices/{DORA_PHONE} -> 200")

    def _register(self, account: str, device_id: str, **members: str) -> None:
        self._expect(self._apps.register(account, device_id, **members), f"registering {device_id}")

    def _message(self, headline: str, order: dict[str, Any], phones: set[str]) -> None:
        self._say(headline)
        began = time.monotonic()
        sent = self._http.post(f"{self._mimc}/_emulator/messages", json=order, timeout=30)
        self._expect(sent, "writing the message")
        sequence = str(sent.json()["sequence"])
        for callback in self._wait(lambda: self._callbacks(sequence), lambda found: len(found) >= 2, "the callbacks"):
            self._say(f"   MIMC posts {callback['msg_type']:<18} -> {callback['status']}")
        self._see(str(order["text"]), phones, began)

    def _make_group(self, headline: str) -> str:
        self._say(headline)
        path = f"/api/topic/{self._app_id}"
        asked = {"topicName": "Dinner", "accounts": "carol,dora"}
        answer = self._http.post(
            self._environment.web + path, json=asked, headers=self._apps.as_user("alice"), timeout=30
        )
        self._expect(answer, "making the group")
        made = answer.json()["data"]
        members = ", ".join(sorted(member["account"] for member in made["members"]))
        self._say(f"   POST /api/topic/APP-ID -> 200, its members are {members}")
        topic_id: str = made["topicInfo"]["topicId"]
        return topic_id

    def _push(self, headline: str, topic_id: str) -> None:
        self._say(headline)
        text, began = "Your table is booked.", time.monotonic()
        said = json.dumps({"version": 0, "msgId": "BOT_1", "msgType": "TEXT", "payload": text})
        shown = {"Authorization": f"Bearer {self._api_key}"}
        asked = {"topicId": topic_id, "msg": said, "msgType": ""}
        answer = self._http.post(f"{self._environment.web}/api/push/p2t/", json=asked, headers=shown, timeout=30)
        self._expect(answer, "the bot's message")
        self._say(f"   POST /api/push/p2t/ -> 200, {json.dumps(answer.json(), separators=(',', ':'))}")
        self._see(text, {ALICE_PHONE, CAROL_PHONE, DORA_PHONE}, began)

    def _see(self, text: str, phones: set[str], began: float) -> None:
        shown = self._wait(
            lambda: [alert for alert in self._alerts(began) if alert.body.endswith(text)],
            lambda found: phones <= {alert.phone for alert in found},
            f"the alert on {' and '.join(sorted(phones))}",
        )
        for alert in shown:
            self._say(f'   {alert.phone:<14} shows  "{alert.title}: {alert.body}"  after {alert.seconds * 1000:.0f} ms')

    def _callbacks(self, sequence: str) -> list[dict[str, Any]]:
        entries = self._read(f"{self._mimc}/_emulator/journal")["entries"]
        posts = [entry for entry in entries if entry.get("kind") == "callback"]
        return [post for post in posts if str(post.get("sequence")) == sequence and post["status"] == 200]

    def _alerts(self, began: float) -> Iterable[Alert]:
        elapsed = time.monotonic() - began
        for push in self._read(f"{self._apns_control}/_emulator/journal")["entries"]:
            if push["accepted"] and push["device_token"] == self._iphone:
                alert = push["payload"]["aps"]["alert"]
                yield Alert(ALICE_PHONE, alert["title"], alert["body"], elapsed)
        for phone in self._read(f"{self._mipush}/_emulator/phones")["phones"]:
            for item in phone["shown"] if phone["phone"] == CAROL_PHONE else []:
                yield Alert(CAROL_PHONE, item["title"], item["description"], elapsed)
        for event in self._read(f"{self._sender}/_emulator/journal")["entries"]:
            if event["outcome"] == "accepted" and event["device_id"] == DORA_PHONE:
                yield Alert(DORA_PHONE, event["title"], event["body"], elapsed)

    def _wait(self, look: Callable[[], list[Any]], enough: Callable[[list[Any]], bool], what: str) -> list[Any]:
        until = time.monotonic() + _PATIENCE_S
        while not enough(found := look()):
            if time.monotonic() > until:
                raise ScenarioFailed(f"{what} did not come within {_PATIENCE_S:.0f} s")
            time.sleep(0.02)
        return found

    def _read(self, url: str) -> Any:
        answer = self._http.get(url, timeout=30)
        self._expect(answer, "reading what the phones show")
        return answer.json()

    def _expect(self, answer: requests.Response, what: str) -> None:
        if not answer.ok:
            raise ScenarioFailed(f"{what} was answered {answer.status_code}: {answer.text[:200]}")

    @property
    def _mimc(self) -> str:
        return f"http://127.0.0.1:{self._environment.ports.mimc}"

    @property
    def _mipush(self) -> str:
        return f"http://127.0.0.1:{self._environment.ports.mipush}"

    @property
    def _sender(self) -> str:
        return f"http://127.0.0.1:{self._environment.ports.sender}"

    @property
    def _apns_control(self) -> str:
        return f"http://127.0.0.1:{self._environment.ports.apns_control}"


def shortened(token_answer: dict[str, Any]) -> str:
    """The answer in one line, its long texts cut: a token belongs on no screen, not even an emulated one."""
    inner = token_answer.get("data") or {}
    cut = {name: f"{text[:6]}..." if isinstance(text, str) and len(text) > 23 else text for name, text in inner.items()}
    return json.dumps({**token_answer, "data": cut}, separators=(",", ":"))


def addresses(environment: DemoEnvironment) -> str:
    """Where everything listens."""
    ports, state = environment.ports, environment.state
    mimc, phones, pushes, sender = _emulators(environment)
    return f"""
Everything is up. Ctrl-C stops it all.

  web               {environment.web}   /api/account/token  /api/devices/ID  /callbacks/mimc/URL-SECRET
  phones            {environment.phones_page}
  operator          http://127.0.0.1:{ports.operator}   /readyz  /metrics  (the worker's /metrics: port {ports.worker})
  emulated MIMC     {mimc}   /_emulator/messages  /_emulator/journal
  emulated APNs     https://127.0.0.1:{ports.apns}  its journal: {pushes}/_emulator/journal
  emulated Mi Push  {phones}   /_emulator/phones  /_emulator/journal
  emulated sender   {sender}   /alerts  /_emulator/journal
  logs              {state}/logs/

Each step by hand, as curl commands for another terminal: {state}/{BY_HAND}. What the phones show appears here.
"""


def by_hand(environment: DemoEnvironment) -> str:
    """Each step of the story as a command."""
    state = environment.state
    mimc, phones, pushes, _ = _emulators(environment)
    return f"""# Each step by hand, in another terminal, in the folder in which it runs.

PATH="{Path(sys.executable).parent}:$PATH"      # app-proxy and gunicorn are there
TOKEN=$(. {state}/env; app-proxy token --account alice)
curl -s -X POST -H "Authorization: Bearer $TOKEN" {environment.web}/api/account/token
curl -s -X PUT -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
     -d '{{"platform":"apns","push_token":"{"ab" * 32}","environment":"sandbox"}}' \\
     {environment.web}/api/devices/my-iphone
curl -s -H 'Content-Type: application/json' -d '{{"from_account":"bob","to_account":"alice","text":"Hello"}}' \\
     {mimc}/_emulator/messages
curl -s {pushes}/_emulator/journal
curl -s {phones}/_emulator/phones
(. {state}/env; app-proxy devices list)

# MIMC's own calls, for users with their session and for servers of yours with an API key (docs/api.md)
curl -s -H "Authorization: Bearer $TOKEN" {environment.web}/api/topic/2882303761517000001/account
KEY=$(. {state}/env; app-proxy keys add my-bot --scope push:send --as bot)
curl -s -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \\
     -d '{{"toAccount":"alice","msg":"Hello from a bot"}}' {environment.web}/api/push/p2p/
"""


def _emulators(environment: DemoEnvironment) -> tuple[str, ...]:
    """MIMC, Mi Push, the control of APNs, the sender."""
    ports = environment.ports
    return tuple(f"http://127.0.0.1:{port}" for port in (ports.mimc, ports.mipush, ports.apns_control, ports.sender))
