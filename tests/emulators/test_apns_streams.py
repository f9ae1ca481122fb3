"""The emulated APNs allows one stream until a push was good, and counts what comes in beyond its limit."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from proxy.emulators.apns.limits import Admission, StreamLimit
from tests.emulators.apns_peer import ALERT, PHONE, Emulator, Peer, emulator

LIMIT, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, REFUSED_STREAM = 3, 1, 3, 7


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with emulator(tmp_path_factory.mktemp("apns"), delay_ms=20, raised_streams=50) as running:
        yield running


@pytest.fixture
def apns(strict: Emulator) -> Iterator[Emulator]:
    yield strict
    strict.clear()


def limits(peer: Peer) -> list[int]:
    return [settings[LIMIT] for settings in peer.settings if LIMIT in settings]


def test_a_connection_begins_with_one_stream_and_gets_more_after_the_first_good_answer(apns: Emulator) -> None:
    with Peer(apns) as peer:
        assert peer.ask("xyz").status == 400
        assert limits(peer) == [1]
        assert peer.ask().status == 200
        peer.ping()
        assert limits(peer) == [1, 50]
        peer.burst([PHONE] * 50)
        assert peer.read(lambda: len(peer.replies) == 52)
        assert peer.resets == {}


def test_the_first_settings_are_those_seen_at_apns(apns: Emulator) -> None:
    with Peer(apns) as peer:
        peer.ping()
        assert peer.settings[0] == {1: 4096, 2: 0, 3: 1, 4: 65535, 5: 16384, 6: 8000, 8: 0}


def test_a_burst_into_a_cold_connection_is_refused_and_counted(apns: Emulator) -> None:
    over = apns.counter("streams_over_limit")
    with Peer(apns) as peer:
        first, *others = peer.burst([PHONE] * 100)
        assert peer.read(lambda: first in peer.replies)
        assert peer.resets == dict.fromkeys(others, REFUSED_STREAM)
        assert peer.goaways == []
        assert peer.ask().status == 200
    assert apns.counter("most_streams_before_first_good_answer") == 100
    assert apns.counter("streams_over_limit") == over + 99


def test_who_has_acknowledged_the_limit_and_exceeds_it_is_sent_away(apns: Emulator) -> None:
    over = apns.counter("streams_over_acknowledged_limit")
    with Peer(apns) as peer:
        peer.ping()
        first, _ = peer.burst([PHONE, PHONE])
        peer.read(lambda: False)
        assert list(peer.replies) == [first]
        (goaway,) = peer.goaways
        assert (goaway.last_stream_id, goaway.error_code) == (first, PROTOCOL_ERROR)
        assert b"maximum active streams violated" in goaway.additional_data
        assert peer.ended == "closed"
    assert apns.counter("streams_over_acknowledged_limit") == over + 1


def test_the_limit_can_be_lowered_and_raised_on_a_live_connection(apns: Emulator) -> None:
    with Peer(apns) as peer:
        peer.ask()
        peer.ping()
        apns.order("limit", code=1)
        assert peer.read(lambda: limits(peer) == [1, 50, 1])
        apns.order("limit", code=10)
        assert peer.read(lambda: limits(peer) == [1, 50, 1, 10])
        peer.burst([PHONE] * 10)
        assert peer.read(lambda: len(peer.replies) == 11)
        apns.clear()
        assert peer.read(lambda: limits(peer) == [1, 50, 1, 10, 50])


def test_an_ordered_limit_holds_for_new_connections_too(apns: Emulator) -> None:
    apns.order("limit", code=1)
    with Peer(apns) as peer:
        peer.ask()
        peer.ask()
        assert limits(peer) == [1]


def test_the_control_port_tells_of_the_live_connections(apns: Emulator) -> None:
    with Peer(apns) as peer:
        peer.ask()
        peer.ping()  # the acknowledgement of the raised limit went out before the next round
        peer.ping()
        mine = apns.connections()[-1]
    assert {**mine, "connection": 0} == {
        "connection": 0, "streams_open": 0, "stream_limit": 50, "stream_limit_acknowledged": 50, "silent": False,
    }  # fmt: skip


def test_a_policy_of_refusing_never_sends_away_and_settings_can_be_late(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with (
        emulator(tmp_path_factory.mktemp("refuse"), excess="refuse", settings_delay_ms=200, delay_ms=20) as apns,
        Peer(apns) as peer,
    ):
        before = time.monotonic()
        peer.ping()
        assert time.monotonic() - before > 0.15
        first, second = peer.burst([PHONE, PHONE])
        assert peer.read(lambda: first in peer.replies)
        assert (peer.resets, peer.goaways) == ({second: REFUSED_STREAM}, [])


def test_a_policy_of_counting_serves_all_and_tells(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        emulator(
            tmp_path_factory.mktemp("count"), delay_ms=20, excess="count", initial_streams=2, environment="production"
        ) as apns,
        Peer(apns) as peer,
    ):
        peer.burst([PHONE] * 5)
        assert peer.read(lambda: len(peer.replies) == 5)
        assert {(reply.status, reply.apns_unique_id) for reply in peer.replies.values()} == {(200, None)}
        assert [entry["streams_open"] for entry in apns.journal()] == [1, 2, 3, 4, 5]
        assert apns.counter("streams_over_limit") == 3


def test_a_lowered_limit_is_no_offence_before_the_client_has_acknowledged_it() -> None:
    limit = StreamLimit(initial=1, raised=500, excess="goaway", ordered=None)
    assert [limit.admit(1), limit.admit(2)] == [Admission.WITHIN, Admission.REFUSED]
    limit.acknowledge()
    assert limit.admit(2) is Admission.SENT_AWAY
    limit.warm_up()
    assert (limit.change(None), limit.admit(500)) == (500, Admission.WITHIN)
    limit.acknowledge()
    assert (limit.change(1), limit.admit(2)) == (1, Admission.REFUSED)
    limit.acknowledge()
    assert limit.admit(2) is Admission.SENT_AWAY


def test_credit_comes_back_for_what_was_sent_and_too_much_at_once_ends_the_connection(apns: Emulator) -> None:
    body = {**ALERT, "text": "x" * 3900}
    with Peer(apns) as peer:
        for _ in range(20):
            assert peer.ask(PHONE, body).status == 200
        assert peer.credit > 20 * 3900 - 65535
        peer.push(PHONE, b"x" * 140_000)
        peer.read(lambda: False)
        assert [frame.error_code for frame in peer.goaways] == [FLOW_CONTROL_ERROR]


def test_a_client_that_offers_no_alpn_is_served(apns: Emulator) -> None:
    """As Pushy by default: every APNs server speaks HTTP/2, so there is nothing to negotiate."""
    with Peer(apns, alpn=()) as peer:
        assert peer.ask().status == 200


@pytest.mark.parametrize("offered", [["http/1.1"], []])
def test_a_client_that_does_not_speak_http2_is_turned_away(apns: Emulator, offered: list[str]) -> None:
    before = apns.counter("protocol_errors")
    context = ssl.create_default_context(cafile=apns.ca_file)
    if offered:
        context.set_alpn_protocols(offered)
    received = b""
    with (
        socket.create_connection(("127.0.0.1", apns.port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        suppress(ConnectionError, ssl.SSLError),  # how the end shows depends on what was still on its way
    ):
        secured.sendall(b"POST / HTTP/1.1\r\n\r\n")
        while more := secured.recv(1000):
            received += more
    assert b"HTTP/1.1" not in received
    assert apns.counter("protocol_errors") == before + 1
