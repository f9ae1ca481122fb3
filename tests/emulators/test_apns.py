"""The emulated APNs refuses what Apple's documentation says that APNs refuses."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest

from tests.emulators.apns_peer import (
    KEY_ID,
    OTHER_KEY_ID,
    OTHER_TEAM,
    OTHER_TOPIC,
    PHONE,
    PRODUCTION_KEY_ID,
    TEAM,
    TOPIC,
    Emulator,
    Peer,
    emulator,
    provider_token,
    with_der_signature,
)


@pytest.fixture(scope="module")
def apns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with emulator(tmp_path_factory.mktemp("apns")) as running:
        yield running


@pytest.fixture(scope="module")
def kept_peer(apns: Emulator) -> Iterator[Peer]:
    with Peer(apns) as connected:
        yield connected


@pytest.fixture
def peer(kept_peer: Peer) -> Peer:
    kept_peer.authorization = f"bearer {provider_token()}"
    return kept_peer


def payload_of(size: int) -> bytes:
    return json.dumps({"aps": {"alert": "x" * (size - len('{"aps": {"alert": ""}}'))}}).encode()


GOOD: list[tuple[str, dict[str, Any]]] = [
    ("a plain alert", {}),
    ("no push type", {"apns_push_type": None}),
    ("a short device token", {"device_token": "ab"}),
    ("a long device token in capitals", {"device_token": "AB" * 80}),
    ("another topic of the team", {"apns_topic": "com.example.chat.beta"}),
    ("a topic with its type's suffix", {"apns_topic": f"{TOPIC}.voip", "apns_push_type": "voip"}),
    ("the largest payload", {"body": payload_of(4096)}),
    ("the largest voip payload",
     {"body": payload_of(5120), "apns_topic": f"{TOPIC}.voip", "apns_push_type": "voip"}),
    ("a background push", {"apns_push_type": "background", "apns_priority": "5"}),
    ("every header", {"apns_id": str(uuid.uuid4()), "apns_expiration": "1793534400", "apns_priority": "1",
                      "apns_collapse_id": "x" * 64}),
    ("expiration 0", {"apns_expiration": "0"}),
]  # fmt: skip


@pytest.mark.parametrize("changed", [row[1] for row in GOOD], ids=[row[0] for row in GOOD])
def test_a_push_in_order_is_answered_200_without_a_body(peer: Peer, changed: dict[str, Any]) -> None:
    reply = peer.ask(**changed)
    assert (reply.status, reply.said) == (200, None)
    assert str(uuid.UUID(reply.apns_id)) == reply.apns_id
    assert reply.apns_unique_id  # the sandbox alone sends one


BAD: list[tuple[int, str, dict[str, Any]]] = [
    (404, "BadPath", {"path": "/"}),
    (404, "BadPath", {"path": "/2/device/" + PHONE}),
    (404, "BadPath", {"path": "/3/devices/" + PHONE}),
    (404, "BadPath", {"path": f"/3/device/{PHONE}/x"}),
    (404, "BadPath", {"path": f"/3/device/{PHONE}?x=1"}),
    (405, "MethodNotAllowed", {"method": "PUT"}),
    (405, "MethodNotAllowed", {"method": "GET", "body": b""}),
    (400, "DuplicateHeaders", {"more": (("apns-topic", TOPIC),)}),
    (403, "MissingProviderToken", {"authorization": None}),
    (403, "MissingProviderToken", {"authorization": "bearer"}),
    (403, "InvalidProviderToken", {"authorization": "bearer abc"}),
    (400, "BadMessageId", {"apns_id": "7"}),
    (400, "BadMessageId", {"apns_id": str(uuid.uuid4()).upper().replace("0", "A")}),
    (400, "BadMessageId", {"apns_id": uuid.uuid4().hex}),
    (400, "MissingTopic", {"apns_topic": None}),
    (400, "BadTopic", {"apns_topic": "com example"}),
    (400, "BadTopic", {"apns_topic": f"{TOPIC}.voip"}),
    (400, "TopicDisallowed", {"apns_topic": OTHER_TOPIC}),
    (400, "TopicDisallowed", {"apns_topic": f"{TOPIC}x"}),
    (400, "InvalidPushType", {"apns_push_type": "loud"}),
    (400, "BadPriority", {"apns_priority": "7"}),
    (400, "BadPriority", {"apns_priority": "high"}),
    (400, "BadPriority", {"apns_push_type": "background", "apns_priority": "10"}),
    (400, "BadExpirationDate", {"apns_expiration": "tomorrow"}),
    (400, "BadExpirationDate", {"apns_expiration": "-1"}),
    (400, "BadExpirationDate", {"apns_expiration": "1793534400000"}),
    (400, "BadCollapseId", {"apns_collapse_id": "x" * 65}),
    (400, "BadCollapseId", {"apns_collapse_id": "消" * 22}),
    (400, "BadCollapseId", {"apns_collapse_id": ""}),
    (400, "MissingDeviceToken", {"path": "/3/device/"}),
    (400, "MissingDeviceToken", {"path": "/3/device"}),
    (400, "BadDeviceToken", {"device_token": "xyz"}),
    (400, "BadDeviceToken", {"device_token": "abc"}),
    (400, "PayloadEmpty", {"body": b""}),
    (400, "PayloadEmpty", {"body": b"[]"}),
    (400, "PayloadEmpty", {"body": b'{"aps": 1}'}),
    (400, "PayloadEmpty", {"body": b'{"aps": {}, "x": NaN}'}),
    (400, "PayloadEmpty", {"body": b"{"}),
    (400, "PayloadEmpty", {"body": b"\xff"}),
    (413, "PayloadTooLarge", {"body": payload_of(4097)}),
    (413, "PayloadTooLarge", {"body": payload_of(20_000)}),
    (413, "PayloadTooLarge",
     {"body": payload_of(5121), "apns_topic": f"{TOPIC}.voip", "apns_push_type": "voip"}),
]  # fmt: skip


@pytest.mark.parametrize(("status", "reason", "changed"), BAD, ids=[f"{row[1]}-{i}" for i, row in enumerate(BAD)])
def test_a_mistake_is_answered_with_apples_reason(
    peer: Peer, status: int, reason: str, changed: dict[str, Any]
) -> None:
    reply = peer.ask(**changed)
    assert (reply.status, reply.said) == (status, {"reason": reason})


def test_the_apns_id_comes_back_with_a_good_answer_and_a_bad_one(peer: Peer) -> None:
    apns_id = str(uuid.uuid4())
    assert peer.ask(apns_id=apns_id).apns_id == apns_id
    assert peer.ask(apns_id=apns_id, body=b"").apns_id == apns_id


@pytest.mark.parametrize(("state", "timestamp_ms", "answer"), [
    ("unregistered", 1793534400123, (410, {"reason": "Unregistered", "timestamp": 1793534400123})),
    ("unregistered", None, (410, {"reason": "Unregistered"})),
    ("expired", 1793534400123, (410, {"reason": "ExpiredToken", "timestamp": 1793534400123})),
    ("expired", None, (410, {"reason": "ExpiredToken"})),
    ("other environment", None, (400, {"reason": "BadDeviceToken"})),
    ("other topic", None, (400, {"reason": "DeviceTokenNotForTopic"})),
    ("registered", None, (200, None)),
])  # fmt: skip
def test_a_device_answers_as_it_is_known(
    apns: Emulator, peer: Peer, state: str, timestamp_ms: int | None, answer: tuple[int, dict[str, Any] | None]
) -> None:
    apns.know("DEAD" * 16, state, timestamp_ms)
    reply = peer.ask("dead" * 16)
    assert (reply.status, reply.said) == answer


@pytest.mark.parametrize(
    "order",
    [[], {"device_token": "xy", "state": "expired"}, {"device_token": "ab", "state": "lost"},
     {"device_token": "ab", "state": "expired", "timestamp_ms": "now"}, {"device_token": "ab", "when": 1}, "ab"],
)  # fmt: skip
def test_a_device_that_makes_no_sense_is_refused(apns: Emulator, order: object) -> None:
    answer = apns.session.post(f"{apns.control}/devices", json=[order] if order == [] else order, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize("age_s", [0, 0.5, 3500, -200.5])
def test_a_provider_token_of_the_last_hour_is_taken_with_an_integer_or_a_float(peer: Peer, age_s: float) -> None:
    token = provider_token(issued_at=int(time.time()) - age_s)
    assert peer.ask(authorization=f"Bearer {token}").status == 200


def test_a_provider_token_with_a_der_signature_is_taken(peer: Peer) -> None:
    assert peer.ask(authorization=f"bearer {with_der_signature(provider_token())}").status == 200


BAD_TOKENS: list[tuple[str, Callable[[int], str]]] = [
    ("ExpiredProviderToken", lambda now: provider_token(issued_at=now - 3700)),
    ("InvalidProviderToken", lambda now: provider_token(issued_at=now + 3600)),
    ("InvalidProviderToken", lambda now: provider_token(issued_at=str(now))),
    ("InvalidProviderToken", lambda _: provider_token(issued_at=True)),
    ("InvalidProviderToken", lambda _: provider_token(OTHER_KEY_ID, signed_by=KEY_ID)),
    ("InvalidProviderToken", lambda _: provider_token("KEYUNKNOWN", signed_by=KEY_ID)),
    ("InvalidProviderToken", lambda _: with_der_signature(provider_token(OTHER_KEY_ID, signed_by=KEY_ID))),
    ("InvalidProviderToken", lambda _: with_der_signature(provider_token()).removesuffix("AAAA") + "AAAA"),
    ("InvalidProviderToken", lambda _: provider_token().rpartition(".")[0] + "." + "A" * 10),
    ("InvalidProviderToken", lambda _: provider_token(team_id=OTHER_TEAM)),
    ("InvalidProviderToken", lambda _: provider_token(team_id="TEAMSTRANG")),
    ("InvalidProviderToken", lambda now: jwt.encode({"iss": TEAM, "iat": now}, "secret" * 9, headers={"kid": KEY_ID})),
    ("InvalidProviderToken", lambda now: jwt.encode({"iss": TEAM, "iat": now}, "", "none", headers={"kid": KEY_ID})),
    ("BadEnvironmentKeyIdInToken", lambda _: provider_token(PRODUCTION_KEY_ID)),
    ("UnrelatedKeyIdInToken", lambda _: provider_token(OTHER_KEY_ID, OTHER_TEAM)),
]


@pytest.mark.parametrize(("reason", "make"), BAD_TOKENS, ids=[f"{row[0]}-{i}" for i, row in enumerate(BAD_TOKENS)])
def test_a_bad_provider_token_is_answered_403(peer: Peer, reason: str, make: Callable[[int], str]) -> None:
    assert peer.ask().status == 200  # from here on the connection speaks for this team
    reply = peer.ask(authorization=f"bearer {make(int(time.time()))}")
    assert (reply.status, reply.reason) == (403, reason)


def test_a_second_team_is_served_on_a_connection_of_its_own(apns: Emulator) -> None:
    token = provider_token(OTHER_KEY_ID, OTHER_TEAM)
    with Peer(apns, authorization=f"bearer {token}") as other:
        assert other.ask(apns_topic=OTHER_TOPIC).status == 200
        assert other.ask(apns_topic=TOPIC).reason == "TopicDisallowed"


def test_the_journal_tells_what_the_phone_shows_and_no_credentials(apns: Emulator, peer: Peer) -> None:
    before, before_ms, apns_id = apns.last(), time.monotonic_ns() // 1_000_000, str(uuid.uuid4())
    payload = {"aps": {"alert": {"title": "林", "body": "消息"}}, "conversation": "c-1"}
    peer.ask(PHONE, payload, apns_id=apns_id, apns_collapse_id="c", apns_expiration="0", apns_priority="10")
    peer.ask(PHONE, b"", apns_id=apns_id)
    taken, refused = apns.journal(before)
    assert before_ms <= taken["came_ms"] <= taken["monotonic_ms"]
    changing = dict.fromkeys(("monotonic_ms", "came_ms", "stream_id", "connection"), 0)
    assert {**taken, **changing} == {
        **changing, "number": before + 1, "streams_open": 1, "peer_port": peer.port, "lost": None, "fault": None,
        "device_token": PHONE, "accepted": True, "answered": True, "status": 200, "reason": None, "apns_id": apns_id,
        "collapse_id": "c", "topic": TOPIC, "push_type": "alert", "priority": "10", "expiration": "0",
        "payload": payload,
    }  # fmt: skip
    assert (refused["accepted"], refused["status"], refused["reason"]) == (False, 400, "PayloadEmpty")
    assert (peer.authorization or "").removeprefix("bearer ") not in json.dumps(apns.journal())


def test_what_breaks_http2_ends_the_connection(apns: Emulator) -> None:
    before = apns.counter("protocol_errors")
    with Peer(apns) as rude:
        rude.push(path="")  # a request needs a path
        rude.read(lambda: False)
        assert rude.ended == "closed"
        assert [frame.error_code for frame in rude.goaways] == [1]
    assert apns.counter("protocol_errors") == before + 1
