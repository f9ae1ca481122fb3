"""The emulated sender, over sockets, by a client that is not ours."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from proxy.emulators.http import Sender, SenderConfig, sender_app
from proxy.emulators.server import threaded_server
from tests.emulators.config_faults import faults_of

KEY = b"a key of twenty-four b.."
SECRET = "whsec_" + base64.b64encode(KEY).decode()
ALERT: dict[str, Any] = {
    "type": "alert",
    "timestamp": "2026-11-28T12:00:00Z",
    "data": {
        "message_id": "m1", "app": "main", "account": "alice", "kind": "text", "title": "bob",
        "body": "hello", "silent": False, "urgent": False,
        "device": {"id": "phone", "push_token": "token", "locale": ""},
        "conversation": "p2p:bob", "sequence": "7", "expires_at": "2026-11-29T12:00:00Z",
    },
}  # fmt: skip


class Client:
    def __init__(self, url: str) -> None:
        self.url, self.http = url, requests.Session()
        self.http.trust_env = False

    def post(self, event: object = None, path: str = "/alerts", **headers: str) -> requests.Response:
        """A good request, but for the headers that are given."""
        body = event if isinstance(event, bytes) else json.dumps(ALERT if event is None else event).encode()
        stamped = headers.pop("stamped", str(int(time.time())))
        content = headers.pop("signed_id", "msg-1").encode() + b"." + stamped.encode() + b"." + body
        signature = base64.b64encode(hmac.new(KEY, content, hashlib.sha256).digest()).decode()
        good = {
            "webhook-id": "msg-1", "webhook-timestamp": stamped, "webhook-signature": f"v1,{signature}",
            "Content-Type": "application/json",
        }  # fmt: skip
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(f"{self.url}{path}", data=body, headers=good | given, timeout=20)

    def journal(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.http.get(f"{self.url}/_emulator/journal", timeout=20).json()["entries"]
        return entries

    def fault(self, **order: Any) -> None:
        self.http.post(f"{self.url}/_emulator/faults", json=order, timeout=20).raise_for_status()


@pytest.fixture
def client() -> Iterator[Client]:
    other = "whsec_" + base64.b64encode(b"another key that is good").decode()
    server = threaded_server(sender_app(Sender(SenderConfig(secrets=(other, SECRET)))), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Client(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_signed_and_whole_is_taken_and_a_repeat_is_known(client: Client) -> None:
    assert client.post().status_code == 200
    assert client.post().status_code == 200
    assert client.post({"type": "check", "timestamp": "2026-11-28T12:00:00Z", "data": {}}).status_code == 200
    first, again, _ = client.journal()
    assert (first["outcome"], again["outcome"]) == ("accepted", "repeated")
    assert (first["account"], first["push_token"], first["title"], first["body"]) == ("alice", "token", "bob", "hello")


def without(name: str, **changes: object) -> dict[str, Any]:
    data = {key: value for key, value in ALERT["data"].items() if key != name}
    return {**ALERT, "data": {**data, **changes}}


def test_what_is_not_signed_so_or_not_whole_is_refused_with_its_reason(client: Client) -> None:
    """One test for all of them: each would start a server of its own."""
    late = str(int(time.time()) - 301)
    cases: list[tuple[object, dict[str, str], int, str]] = [
        (None, {"webhook_signature": "v1,AAAA"}, 401, "webhook-signature"),
        (None, {"webhook_signature": ""}, 401, "webhook-signature"),
        (None, {"webhook_id": "msg-2"}, 401, "webhook-signature"),
        (None, {"webhook_id": "a.b"}, 401, "webhook-id"),
        (None, {"stamped": late}, 401, "webhook-timestamp"),
        (None, {"stamped": "soon"}, 401, "webhook-timestamp"),
        (None, {"Content-Type": "text/plain"}, 400, "content-type"),
        (b"{", {}, 400, "no JSON"),
        (b"[" * 100_000, {}, 400, "no JSON"),
        ([], {}, 422, "no object"),
        ({}, {}, 422, "no event with data"),
        ({**ALERT, "type": "other"}, {}, 422, "type"),
        ({**ALERT, "timestamp": "noon"}, {}, 422, "timestamp"),
        (without("account"), {}, 422, "account"),
        (without("expires_at", expires_at="2026-11-29T12:00:00"), {}, 422, "expires_at"),
        (without("sequence", sequence="x"), {}, 422, "sequence"),
        (without("device", device={"id": "phone"}), {}, 422, "device"),
    ]
    for event, headers, status, reason in cases:
        answer = client.post(event, **headers)
        assert (answer.status_code, answer.json()) == (status, {"reason": reason}), headers
    assert {it["outcome"] for it in client.journal()} == {"refused"}


def test_names_are_told_to_signed_questions(client: Client) -> None:
    assert client.post({"account": "alice"}, "/names").json() == {"name": "Alice"}
    both = client.post({"account": "bob", "group": "21351198708203521"}, "/names").json()
    assert both == {"name": "Bob", "group_name": "Group 3521"}
    assert client.post({"account": "alice"}, "/names", webhook_signature="v1,AAAA").status_code == 401
    for wrong in ({}, {"account": ""}, {"account": "alice", "text": "hello"}, {"account": "alice", "group": 7}):
        assert client.post(wrong, "/names").status_code == 422
    client.fault(effect="status", status=500, target="alice")
    assert client.post({"account": "alice"}, "/names").status_code == 500
    assert [it["outcome"] for it in client.journal()] == ["told", "told", *["refused"] * 5, "fault"]


def test_faults_hit_one_phone_or_all(client: Client) -> None:
    client.fault(effect="gone", target="token", times=1)
    client.fault(effect="status", status=429, retry_after="3", target="alice", times=1)
    gone, slow, good = client.post(), client.post(), client.post()
    assert (gone.status_code, gone.json()) == (410, {"reason": "unregistered"})
    assert (slow.status_code, slow.headers["Retry-After"]) == (429, "3")
    assert good.status_code == 200


def test_wrong_settings_are_named() -> None:
    assert faults_of(SenderConfig, {"secrets": []}) == ["secrets: expected at least one"]
    assert faults_of(SenderConfig, {"secrets": ["x"]}) == ["secrets.0: expected a text that begins with whsec_"]


def event(message: str, sequence: int = 7, account: str = "alice", **data: object) -> dict[str, Any]:
    return without("", message_id=message, sequence=str(sequence), account=account, **data)


def withdrawal(message: str, reason: str, sequence: int = 7) -> dict[str, Any]:
    return {**event(message, sequence, reason=reason), "type": "withdrawal"}


def shown(client: Client) -> list[str]:
    phones = client.http.get(f"{client.url}/_emulator/phones", timeout=20).json()["phones"]
    return [alert["body"] for phone in phones for alert in phone["shown"]]


def test_phones_show_what_was_accepted_until_it_is_withdrawn(client: Client) -> None:
    def send(*events: dict[str, Any]) -> list[str]:
        for number, it in enumerate(events, len(client.journal())):
            assert client.post(it, webhook_id=f"msg-{number}", signed_id=f"msg-{number}").status_code == 200
        return shown(client)

    first, second = event("m1", 1, body="first"), event("m2", 2, body="second")
    assert send(first, second, event("m3", 3, body="third")) == ["first", "second", "third"]
    assert send(event("m1", 1, body="first, told again")) == ["second", "third", "first, told again"]
    assert send(withdrawal("m2", "recall", 2)) == ["third", "first, told again"]
    assert send(withdrawal("m2", "read", 2)) == ["third"]
    assert send(withdrawal("m3", "recall", 3)) == []
