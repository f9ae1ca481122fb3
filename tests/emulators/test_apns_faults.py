"""The emulated APNs fails as ordered, and its journal says what really happened to each push."""

import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hyperframe.frame import RstStreamFrame

from tests.emulators.apns_peer import PHONE, Emulator, Peer, emulator

INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 2, 7, 8
PHONES = [f"{n:02x}ab" * 16 for n in range(1, 9)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with emulator(tmp_path_factory.mktemp("apns"), delay_ms=20) as started:
        yield started


@pytest.fixture
def apns(running: Emulator) -> Iterator[Emulator]:
    yield running
    running.clear()


@pytest.fixture
def peer(apns: Emulator) -> Iterator[Peer]:
    """A connection that has had its first good answer."""
    with Peer(apns) as connected:
        assert connected.ask().status == 200
        connected.ping()
        yield connected


def fates(apns: Emulator, after: int) -> dict[str, tuple[bool, bool]]:
    """Of each device: whether its push was accepted, whether the client got the answer."""
    return {entry["device_token"]: (entry["accepted"], entry["answered"]) for entry in apns.journal(after)}


ORDERED: list[tuple[int, str]] = [
    (400, "IdleTimeout"), (403, "BadCertificate"), (403, "BadCertificateEnvironment"), (403, "Forbidden"),
    (403, "ExpiredProviderToken"), (410, "Unregistered"), (410, "ExpiredToken"), (413, "PayloadTooLarge"),
    (429, "TooManyProviderTokenUpdates"), (429, "TooManyRequests"), (500, "InternalServerError"),
    (503, "ServiceUnavailable"), (503, "Shutdown"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "reason"), ORDERED)
def test_every_reason_can_be_ordered_for_a_device(apns: Emulator, peer: Peer, status: int, reason: str) -> None:
    apns.order("answer", reason=reason, target=PHONES[0].upper(), times=1, delay_ms=0)
    assert peer.ask(PHONE, apns_priority="5").status == 200
    reply = peer.ask(PHONES[0])
    assert (reply.status, reply.said) == (status, {"reason": reason})
    assert peer.ask(PHONES[0]).status == 200


@pytest.mark.parametrize(("order", "status", "said"), [
    ({"effect": "answer", "status": 410, "reason": "Unregistered", "code": 1793534400000},
     410, {"reason": "Unregistered", "timestamp": 1793534400000}),
    ({"effect": "answer", "status": 418, "reason": "Teapot"}, 418, {"reason": "Teapot"}),
    ({"effect": "answer", "reason": "Teapot"}, 500, {"reason": "Teapot"}),
    ({"effect": "answer", "status": 502}, 502, None),
    ({"effect": "no_body_503"}, 503, None),
])  # fmt: skip
def test_an_answer_can_be_anything(
    apns: Emulator, peer: Peer, order: dict[str, Any], status: int, said: dict[str, Any] | None
) -> None:
    before = apns.last()
    apns.order(**order, times=1)
    reply = peer.ask(PHONES[0])
    assert (reply.status, reply.said) == (status, said)
    (entry,) = apns.journal(before)
    assert (entry["accepted"], entry["answered"], entry["status"]) == (False, True, status)


@pytest.mark.parametrize("order", [{"effect": "no_body_503"}, {"effect": "answer", "reason": "ServiceUnavailable"}])
def test_an_answer_can_say_when_to_come_back(apns: Emulator, peer: Peer, order: dict[str, Any]) -> None:
    apns.order(**order, retry_after="17", times=1)
    assert peer.ask(PHONES[0]).retry_after == "17"
    assert peer.ask(PHONES[0]).retry_after is None


def test_a_clients_own_mistake_is_not_hidden_by_a_fault(apns: Emulator, peer: Peer) -> None:
    apns.order("answer", reason="Shutdown")
    assert peer.ask(PHONE, b"").reason == "PayloadEmpty"


def test_a_share_of_the_pushes_can_be_hit(apns: Emulator, peer: Peer) -> None:
    apns.order("answer", reason="Shutdown", share=0.5)
    stream_ids = peer.burst([PHONE] * 200)
    assert peer.read(lambda: peer.replies.keys() >= set(stream_ids))
    assert 60 < sum(peer.replies[stream_id].status == 503 for stream_id in stream_ids) < 140


def test_a_delayed_push_is_overtaken_by_the_next(apns: Emulator, peer: Peer) -> None:
    apns.order("delay", delay_ms=200, target=PHONES[0])
    late, soon = peer.burst(PHONES[:2])
    assert peer.read(lambda: soon in peer.replies)
    assert late not in peer.replies
    assert peer.read(lambda: late in peer.replies)


def test_a_silenced_push_is_accepted_and_never_answered(apns: Emulator, peer: Peer) -> None:
    before = apns.last()
    apns.order("silence", times=1)
    silent, answered = peer.burst(PHONES[:2])
    assert peer.read(lambda: answered in peer.replies)
    assert not peer.read(lambda: silent in peer.replies, timeout_s=0.15)
    assert fates(apns, before) == {PHONES[0]: (True, False), PHONES[1]: (True, True)}
    assert apns.connections()[-1]["streams_open"] == 1
    peer.cancel(silent)
    peer.ping()
    assert apns.connections()[-1]["streams_open"] == 0
    assert len(apns.journal(before)) == 2


def test_a_push_that_the_client_gives_up_stays_accepted(apns: Emulator, peer: Peer) -> None:
    before = apns.last()
    stream_id, sent = peer.frames(PHONES[0])
    peer.write(sent + RstStreamFrame(stream_id, error_code=CANCEL).serialize())
    peer.ping()
    assert fates(apns, before) == {PHONES[0]: (True, False)}
    assert [entry["lost"] for entry in apns.journal(before)] == ["stream reset by the client"]


def test_the_journal_tells_whose_connection_ended_before_an_answer(apns: Emulator) -> None:
    before = apns.last()
    with Peer(apns) as peer:
        assert peer.ask().status == 200
        apns.order("delay", times=1, delay_ms=60_000)
        peer.push(PHONES[0])
        peer.ping()
        port = peer.port
    entries = []
    for _ in range(5000):
        if len(entries := apns.journal(before)) == 2:
            break
        time.sleep(0.01)
    assert [(entry["peer_port"], entry["lost"], entry["fault"]) for entry in entries] == [
        (port, None, None), (port, "connection lost", "delay")
    ]  # fmt: skip


def test_a_connection_can_fall_silent_for_ever_while_others_live(apns: Emulator, peer: Peer) -> None:
    before = apns.last()
    apns.order("silent_connection", times=1, target=PHONES[1])
    peer.burst(PHONES[:3])
    assert not peer.read(lambda: bool(peer.ended) or len(peer.replies) > 1, timeout_s=0.2)
    assert fates(apns, before) == {PHONES[0]: (True, False), PHONES[1]: (True, False)}
    with Peer(apns) as other:
        assert other.ask().status == 200


@pytest.mark.parametrize(("effect", "ended"), [("reset", "reset"), ("close", "closed")])
def test_what_is_in_flight_when_the_connection_ends_was_accepted_unheard(
    apns: Emulator, peer: Peer, effect: str, ended: str
) -> None:
    before = apns.last()
    apns.order(effect, times=1, target=PHONES[2])
    peer.burst(PHONES[:3])
    assert not peer.read(lambda: len(peer.replies) > 1)
    assert (peer.ended, peer.goaways) == (ended, [])
    assert {entry["lost"] for entry in apns.journal(before)} == {ended}
    assert [entry["fault"] for entry in apns.journal(before) if entry["device_token"] == PHONES[2]] == [effect]
    assert fates(apns, before) == dict.fromkeys(PHONES[:3], (True, False))


def test_goaway_drops_the_newest_answers_the_others_and_closes(apns: Emulator, peer: Peer) -> None:
    before = apns.last()
    arrived, dropped = (apns.counter(n) for n in ("arrivals_above_last_stream_id", "streams_dropped_by_goaway"))
    apns.order("goaway", times=1, code=2, reason="Shutdown", target=PHONES[4])
    stream_ids = peer.burst(PHONES[:6])
    peer.read(lambda: False)
    assert peer.ended == "closed"
    (goaway,) = peer.goaways
    assert (goaway.last_stream_id, goaway.error_code) == (stream_ids[2], 0)
    assert goaway.additional_data == b'{"reason":"Shutdown"}'
    assert sorted(peer.replies)[1:] == stream_ids[:3]
    assert fates(apns, before) == dict.fromkeys(PHONES[:3], (True, True))
    assert apns.counter("streams_dropped_by_goaway") == dropped + 2
    assert apns.counter("arrivals_above_last_stream_id") == arrived + 1


def test_goaway_may_drop_nothing(apns: Emulator, peer: Peer) -> None:
    apns.order("goaway", times=1, target=PHONES[1])
    stream_ids = peer.burst(PHONES[:2])
    peer.read(lambda: False)
    assert (peer.goaways[0].last_stream_id, sorted(peer.replies)[1:]) == (stream_ids[1], stream_ids)


@pytest.mark.parametrize(("code", "sent", "accepted"), [
    (None, INTERNAL_ERROR, True), (CANCEL, CANCEL, True), (REFUSED_STREAM, REFUSED_STREAM, False),
])  # fmt: skip
def test_a_stream_can_be_reset_with_any_code(
    apns: Emulator, peer: Peer, code: int | None, sent: int, accepted: bool
) -> None:
    before = apns.last()
    apns.order("rst_stream", times=1, code=code)
    stream_id = peer.push(PHONES[0])
    assert peer.read(lambda: stream_id in peer.resets)
    assert peer.resets[stream_id] == sent
    assert fates(apns, before) == {PHONES[0]: (accepted, False)}
    assert peer.ask().status == 200


def test_a_body_larger_than_the_clients_window_goes_on_when_there_is_credit(apns: Emulator) -> None:
    refused = {"reason": "BadDeviceToken"}
    apns.order("answer", times=2, delay_ms=0, **refused)
    with Peer(apns, window=10) as peer:
        before = apns.last()
        first = peer.push()
        peer.ping()
        assert (first in peer.replies, apns.journal(before)) == (False, [])  # not answered before it has ended
        peer.grant(first, 10)
        peer.ping()
        assert first not in peer.replies
        peer.grant(first, 1000)
        assert peer.read(lambda: first in peer.replies)
        assert peer.replies[first].said == refused
        (entry,) = apns.journal(before)
        assert (entry["answered"], entry["reason"]) == (True, "BadDeviceToken")
        second = peer.push()
        peer.ping()
        peer.change_window(1000)  # counts for the streams that are open, too (RFC 9113, 6.9.2)
        assert peer.read(lambda: second in peer.replies)
        assert peer.replies[second].said == refused


def test_a_client_that_gives_up_in_the_middle_of_a_body_ends_the_stream(apns: Emulator) -> None:
    apns.order("answer", times=1, delay_ms=0, reason="BadDeviceToken")
    with Peer(apns, window=10) as peer:
        before = apns.last()
        stream_id = peer.push()
        peer.ping()
        peer.cancel(stream_id)
        peer.grant(0, 1000)
        peer.ping()
        (entry,) = apns.journal(before)
        assert (entry["answered"], entry["lost"]) == (False, "stream reset by the client")
        assert peer.ask().status == 200


def test_a_body_larger_than_a_frame_arrives_whole(apns: Emulator, peer: Peer) -> None:
    reason = "x" * 30_000
    apns.order("answer", times=1, status=400, reason=reason)
    assert peer.ask().said == {"reason": reason}
    peer.grant(0, 30_100)  # for the tests that share the connection


@pytest.mark.parametrize(("effect", "ended", "goaways"), [("goaway", "closed", 1), ("close", "closed", 0),
                                                          ("reset", "reset", 0)])  # fmt: skip
def test_an_idle_connection_can_be_ended_at_once(
    apns: Emulator, peer: Peer, effect: str, ended: str, goaways: int
) -> None:
    apns.hit(effect, reason="IdleTimeout")
    peer.read(lambda: False)
    assert (peer.ended, len(peer.goaways)) == (ended, goaways)


@pytest.mark.parametrize(
    ("what", "order"), [("faults", {"effect": "sulk"}), ("connections", {"effect": "answer"}), ("connections", [])]
)
def test_an_unknown_effect_is_refused_with_the_list(apns: Emulator, what: str, order: object) -> None:
    answer = apns.session.post(f"{apns.control}/{what}", json=order, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_closed_port_refuses_and_is_open_again_when_the_faults_end(apns: Emulator, peer: Peer) -> None:
    apns.order("closed")
    assert peer.read(lambda: peer.ended == "reset")
    with pytest.raises(ConnectionRefusedError), Peer(apns):
        pass
    apns.clear()
    with Peer(apns) as after:
        assert after.ask().status == 200


def test_an_untrusted_certificate_is_shown_until_the_faults_end(apns: Emulator, peer: Peer) -> None:
    apns.order("untrusted")
    assert peer.read(lambda: peer.ended == "reset")
    with pytest.raises(ssl.SSLCertVerificationError), Peer(apns):
        pass
    apns.clear()
    with Peer(apns) as after:
        assert after.ask().status == 200


def test_a_closed_port_is_open_again_once_other_faults_take_its_place(apns: Emulator) -> None:
    apns.replace({"effect": "closed"}, {"effect": "limit", "code": 3})
    with pytest.raises(ConnectionRefusedError), Peer(apns):
        pass
    apns.replace({"effect": "answer", "reason": "Unregistered", "target": PHONE.upper()})
    with Peer(apns) as after:
        assert after.ask().reason == "Unregistered"
        apns.clear()
        assert after.ask().status == 200


def test_a_phone_can_be_given_a_name(apns: Emulator, peer: Peer) -> None:
    apns.name(PHONE, "alices-iphone")
    assert peer.ask().status == 200
    phones = apns.session.get(f"{apns.control}/phones", timeout=60).json()["phones"]
    assert [it["phone"] for it in phones if it["device_token"] == PHONE] == ["alices-iphone"]
    wrong = apns.session.post(f"{apns.control}/devices", json={"device_token": PHONE, "phone": ""}, timeout=60)
    assert (wrong.status_code, wrong.json()) == (400, {"error": "phone: expected a name"})
    apns.know(PHONE, "registered")
