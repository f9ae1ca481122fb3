"""HTTP/2 against the emulated APNs: one stream first, a limit that moves, connections that end in every way."""

import asyncio
import json
import math
import socket
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.channels.http2 import Http2Transport
from proxy.channels.transfer import CLOSED, Limits
from proxy.curl import Route
from proxy.domain.transfers import FailureKind, Request, Response, TransportFailure

LIMITS = Limits(push_timeout_s=10.0, connect_timeout_s=5.0, silence_min_s=5.0)
HASTY = replace(LIMITS, push_timeout_s=1.0, silence_min_s=0.3)
TOPIC = "com.example.chat"


@dataclass
class Apns:
    """The emulator's two ports, and what we know of it from the outside."""

    port: int
    control: str
    ca_file: Path
    authorization: str
    session: requests.Session
    seen: int = 0
    connections_before: int = 0

    def order(self, **fault: Any) -> None:
        assert self.session.post(f"{self.control}/faults", json=fault, timeout=5).status_code == 200

    def strike(self, effect: str) -> None:
        assert self.session.post(f"{self.control}/connections", json={"effect": effect}, timeout=5).status_code == 200

    def start_afresh(self) -> None:
        self.session.delete(f"{self.control}/faults", timeout=5)
        journal = self._journal()
        self.seen, self.connections_before = journal["last"], journal["counters"]["connections"]

    def arrived(self) -> Counter[str]:
        """How often each push was accepted since start_afresh()."""
        return Counter(entry["apns_id"] for entry in self._journal()["entries"] if entry["accepted"])

    def connections(self) -> int:
        counters: dict[str, int] = self._journal()["counters"]
        assert counters["most_streams_before_first_good_answer"] <= 1  # 0 where nothing has ever got through
        assert counters["streams_over_acknowledged_limit"] == 0
        return counters["connections"] - self.connections_before

    def push(self, number: int) -> Request:
        return Request(
            f"https://127.0.0.1:{self.port}/3/device/{number:064x}",
            (
                f"authorization: {self.authorization}", f"apns-topic: {TOPIC}", f"apns-id: {uuid.UUID(int=number)}",
                "apns-push-type: alert", "content-type:", "accept:", "user-agent:",
            ),
            b'{"aps":{"alert":"' + b"hello " * 30 + b'"}}',
        )  # fmt: skip

    def _journal(self) -> Any:
        return self.session.get(f"{self.control}/journal", params={"after": self.seen}, timeout=5).json()


@dataclass
class Sender:
    """Repeats what has no answer at once and under the same ids, as a lane does after a first failure."""

    apns: Apns
    transport: Http2Transport
    events: Counter[str]
    failures: Counter[FailureKind] = field(default_factory=Counter)

    @property
    def ambiguous(self) -> int:
        return self.failures[FailureKind.BROKEN] + self.failures[FailureKind.TIMED_OUT]

    async def once(self, number: int, leave_by: float = math.inf) -> Response | TransportFailure:
        assert await self.transport.reserve(1) == 1
        ended = await self.transport.send(self.apns.push(number), leave_by)
        if isinstance(ended, TransportFailure):
            assert "/" not in ended.reason.replace("HTTP/2", "")
            assert str(self.apns.port) not in ended.reason
            self.failures[ended.kind] += 1
        return ended

    async def push(self, number: int) -> Response:
        while True:
            ended = await self.once(number)
            if isinstance(ended, Response):
                return ended

    async def push_all(self, *numbers: int) -> None:
        """Push, and see every one of them answered 200."""
        ended = await asyncio.gather(*map(self.push, numbers))
        assert Counter(answer.status for answer in ended) == {200: len(numbers)}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apns]:
    folder = tmp_path_factory.mktemp("apns")
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.p8").write_bytes(key)
    (folder / "apns.toml").write_text(
        f'[apns]\ntls_folder = "tls"\ndelay_ms = 10\nsettings_delay_ms = 10\n[[apns.teams]]\nteam_id = "TEAM000001"\n'
        f'topics = ["{TOPIC}"]\nkeys = [{{ key_id = "KEY0000001", key = "key.p8" }}]\n'
    )
    provider_token = jwt.encode(
        {"iss": "TEAM000001", "iat": int(time.time())}, key, algorithm="ES256", headers={"kid": "KEY0000001"}
    )
    command = [sys.executable, "-m", "proxy", "emulate", "apns", "--config", str(folder / "apns.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process, closing(requests.Session()) as session:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            session.trust_env = False
            control = f"http://127.0.0.1:{told['control_port']}/_emulator"
            yield Apns(told["port"], control, Path(told["ca_file"]), f"bearer {provider_token}", session)
        finally:
            process.terminate()


@pytest.fixture
def apns(emulator: Apns) -> Apns:
    emulator.start_afresh()
    return emulator


@pytest.fixture
def taken_port() -> Iterator[socket.socket]:
    """A port of ours without a listener yet."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken


def play(apns: Apns, scene: Callable[[Sender], Awaitable[None]], limits: Limits = LIMITS) -> Sender:
    """Run a scene with a transport of its own. Afterwards nothing of it is left on the loop."""
    events: Counter[str] = Counter()

    async def run() -> Sender:
        transport = Http2Transport(Route(apns.ca_file), limits, lambda event: events.update([event]))
        sender = Sender(apns, transport, events)
        try:
            async with asyncio.timeout(20):
                await scene(sender)
        finally:
            await transport.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return sender

    return asyncio.run(run())


def ids(numbers: range) -> set[str]:
    return {str(uuid.UUID(int=number)) for number in numbers}


def test_a_cold_start_sends_one_push_alone_and_then_the_rest(apns: Apns) -> None:
    sender = play(apns, lambda sender: sender.push_all(*range(200)))
    assert apns.arrived() == Counter(ids(range(200)))
    assert (apns.connections(), sender.ambiguous) == (1, 0)


def test_what_a_goaway_dropped_goes_out_on_the_next_connection(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        await sender.push_all(0)
        apns.order(effect="goaway", target=f"{150:064x}", code=50, times=1)
        await sender.push_all(*range(1, 201))

    sender = play(apns, scene)
    assert apns.arrived() == Counter(ids(range(201)))
    assert (apns.connections(), sender.ambiguous) == (2, 0)


def test_a_reset_with_pushes_in_flight_loses_none(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        await sender.push_all(0)
        apns.order(effect="reset", target=f"{200:064x}", times=1)
        await sender.push_all(*range(1, 201))

    sender = play(apns, scene)
    assert apns.arrived().keys() == ids(range(201))
    assert apns.connections() <= 3
    assert 0 < sender.ambiguous <= 200


def test_a_stream_limit_that_falls_back_to_one_is_obeyed_until_it_rises(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        await sender.push_all(0)
        apns.order(effect="limit", code=1)
        pushes = asyncio.gather(*map(sender.push, range(1, 201)))
        await asyncio.sleep(0.2)  # the server's time at limit 1: some go through, one by one
        assert not pushes.done()
        apns.session.delete(f"{apns.control}/faults", timeout=5)
        await pushes

    sender = play(apns, scene)
    assert apns.arrived() == Counter(ids(range(201)))
    assert apns.connections() <= 3
    assert sender.ambiguous == 0


def test_a_server_that_stays_at_one_stream_gets_one_push_after_the_other(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        apns.order(effect="limit", code=1)
        await sender.push_all(*range(50))

    play(apns, scene)
    assert apns.arrived() == Counter(ids(range(50)))
    assert apns.connections() == 1


def test_pushes_flow_again_within_a_time_out_once_a_connection_has_fallen_silent_for_ever(apns: Apns) -> None:
    answered_after: list[float] = []

    async def scene(sender: Sender) -> None:
        await sender.push_all(0)
        apns.strike("silent_connection")
        struck = time.monotonic()

        async def push(number: int) -> None:
            await sender.push_all(number)
            answered_after.append(time.monotonic() - struck)

        pushes = []
        for number in range(1, 101):
            pushes.append(asyncio.create_task(push(number)))
            await asyncio.sleep(0.01)  # pushes keep coming
        await asyncio.gather(*pushes)

    sender = play(apns, scene, HASTY)
    assert apns.arrived() == Counter(ids(range(101)))
    assert apns.connections() == 2
    assert min(answered_after) < HASTY.push_timeout_s
    assert sender.events["silent connection left"] == 1
    assert sender.ambiguous < 90


def test_a_silent_connection_keeps_its_own_pushes_only(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        await sender.push_all(0)
        apns.strike("silent_connection")
        stuck = asyncio.gather(*map(sender.push, range(1, 101)))
        await asyncio.sleep(0.05)
        await sender.push_all(*range(101, 301))
        await stuck

    sender = play(apns, scene, replace(HASTY, most_streams=100))
    assert apns.arrived() == Counter(ids(range(301)))
    assert (apns.connections(), sender.ambiguous) == (2, 100)
    assert sender.events["push recalled"] == 0  # the others were never given to it


def test_a_slow_push_on_a_connection_that_goes_away_holds_up_no_other(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        await sender.push_all(0)
        apns.order(effect="delay", target=f"{1:064x}", delay_ms=1200, times=1)
        apns.order(effect="goaway", target=f"{2:064x}", times=1)
        slow = asyncio.create_task(sender.push(1))
        await sender.push_all(2)
        await sender.push_all(*range(3, 203))
        assert not slow.done()
        assert isinstance(await slow, Response)  # the connection that was left ends by itself

    sender = play(apns, scene, replace(HASTY, push_timeout_s=3.0))
    assert apns.arrived() == Counter(ids(range(203)))
    assert (apns.connections(), sender.ambiguous) == (2, 0)


def test_eight_connections_that_go_away_at_once_lose_nothing(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        for number in range(0, 400, 50):
            apns.order(effect="goaway", target=f"{number:064x}", code=10, times=1)
        await sender.push_all(*range(400))

    play(apns, scene)
    assert apns.arrived().keys() == ids(range(400))
    assert apns.connections() <= 9


def test_pushes_that_are_never_answered_cost_only_themselves_a_time_out(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        for number in range(0, 300, 50):
            apns.order(effect="silence", target=f"{number:064x}", times=1)
        await sender.push_all(*range(300))

    sender = play(apns, scene, HASTY)
    assert apns.arrived().keys() == ids(range(300))
    assert sender.ambiguous == 6
    assert apns.connections() <= 4


def test_a_reset_stream_ends_alone(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        apns.order(effect="rst_stream", target=f"{7:064x}", times=1)
        await sender.push_all(*range(20))

    sender = play(apns, scene)
    assert (apns.connections(), sender.ambiguous) == (1, 1)


def test_a_connection_closed_while_idle_costs_one_repeat(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        await sender.push_all(0)
        apns.strike("close")
        await sender.push_all(1)

    sender = play(apns, scene)
    assert sender.ambiguous <= 1
    assert apns.connections() == 2


def test_a_push_does_not_leave_after_its_time(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        await sender.push_all(0)
        over = time.monotonic() - 1
        assert (
            await asyncio.gather(*(sender.once(number, over) for number in range(1, 11)))
            == [TransportFailure("lease lost", FailureKind.NOT_SENT)] * 10
        )
        await sender.push_all(11)

    play(apns, scene)
    assert apns.arrived() == Counter(ids(range(1)) | ids(range(11, 12)))
    assert apns.connections() == 1


def test_what_the_server_has_no_stream_for_comes_back_and_is_free_to_go_elsewhere(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        await sender.push_all(0)
        apns.order(effect="limit", code=1)
        await sender.push_all(50)  # its answer brings the new limit
        apns.order(effect="delay", target=f"{1:064x}", delay_ms=1000, times=1)
        assert await sender.transport.reserve(20) == 20
        sent = [sender.transport.send(apns.push(number), math.inf) for number in range(1, 21)]
        back = await asyncio.wait_for(asyncio.gather(*sent[1:]), 0.9)
        assert {ended.kind for ended in back if isinstance(ended, TransportFailure)} == {FailureKind.NOT_SENT}
        assert len(back) == 19
        assert not sent[0].done()
        assert isinstance(await sent[0], Response)

    play(apns, scene)
    assert apns.arrived() == Counter(ids(range(2)) | ids(range(50, 51)))


def test_a_cold_connection_has_one_place_and_a_warm_one_as_many_as_there_are_streams(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        transport = sender.transport
        assert await transport.reserve(50) == 1
        second = asyncio.create_task(transport.reserve(50))
        assert isinstance(await transport.send(apns.push(1), math.inf), Response)
        assert await second == 50
        assert await transport.reserve(5000) == LIMITS.most_streams - 50
        transport.give_back(LIMITS.most_streams)

    play(apns, scene)


def test_a_lane_that_takes_all_places_does_not_starve_another(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        transport = sender.transport
        await sender.push_all(0)
        hog = await transport.reserve(1000)
        first, hog_again = (asyncio.create_task(transport.reserve(most)) for most in (3, 1000))
        await asyncio.sleep(0)
        transport.give_back(hog)
        assert await first == 3
        assert await hog_again == 997
        transport.give_back(1000)

    play(apns, scene)


def test_a_reservation_that_is_cancelled_takes_no_place(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        transport = sender.transport
        assert await transport.reserve(1) == 1
        waits, is_granted = (asyncio.create_task(transport.reserve(1)) for _ in range(2))
        await asyncio.sleep(0)
        waits.cancel()
        transport.give_back(1)
        await asyncio.sleep(0)
        is_granted.cancel()
        await asyncio.gather(waits, is_granted, return_exceptions=True)
        await sender.push_all(*range(10))

    play(apns, scene)


def test_a_closed_transport_answers_those_in_flight_those_who_wait_and_those_who_come(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        apns.order(effect="silence")
        pushes = [asyncio.create_task(sender.once(number)) for number in range(3)]
        while not apns.arrived():  # the others wait for its answer
            await asyncio.sleep(0.02)
        await sender.transport.aclose()
        assert await asyncio.gather(*pushes, sender.once(3)) == [
            TransportFailure("transport closed", FailureKind.BROKEN), CLOSED, CLOSED, CLOSED,
        ]  # fmt: skip

    play(apns, scene)


def test_a_closed_transport_also_ends_what_is_waited_for_on_a_connection_that_was_left(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        await sender.push_all(0)
        apns.strike("silent_connection")
        assert await sender.transport.reserve(2) == 2
        silent = [sender.transport.send(apns.push(number), math.inf) for number in (1, 2)]
        while not sender.events["silent connection left"]:
            await asyncio.sleep(0.02)
        await sender.transport.aclose()
        assert await asyncio.gather(*silent) == [TransportFailure("transport closed", FailureKind.BROKEN)] * 2

    play(apns, scene, replace(HASTY, push_timeout_s=10.0))


def test_a_closed_port_is_told_at_once_and_every_time(apns: Apns, taken_port: socket.socket) -> None:
    async def scene(sender: Sender) -> None:
        for number in range(3):
            ended = await asyncio.wait_for(sender.once(number), 5)
            assert ended == TransportFailure("connection refused", FailureKind.UNREACHABLE)

    play(replace(apns, port=taken_port.getsockname()[1]), scene)


def test_a_certificate_that_is_not_trusted_is_told_at_once_and_nothing_is_sent(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        ended = await asyncio.wait_for(sender.once(1), 5)
        assert ended == TransportFailure("certificate not trusted", FailureKind.UNREACHABLE)

    play(replace(apns, ca_file=Route().trusted), scene)
    assert apns.connections() <= 1
    assert not apns.arrived()


def test_a_host_that_does_not_complete_a_handshake_is_unreachable(apns: Apns, taken_port: socket.socket) -> None:
    taken_port.listen()

    async def scene(sender: Sender) -> None:
        assert await sender.once(1) == TransportFailure("no connection in time", FailureKind.UNREACHABLE)

    limits = replace(HASTY, connect_timeout_s=0.3)
    play(replace(apns, port=taken_port.getsockname()[1]), scene, limits)


def test_each_try_on_a_connection_that_is_reset_is_told_as_broken(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        apns.order(effect="reset")
        for number in range(5):
            ended = await asyncio.wait_for(sender.once(number), 5)
            assert isinstance(ended, TransportFailure)
            assert ended.kind is FailureKind.BROKEN

    sender = play(apns, scene)
    assert sender.events["connection opened"] >= 5


def test_a_provider_that_answers_late_on_a_cold_connection_is_slow_and_not_dead(apns: Apns) -> None:
    limits = replace(LIMITS, push_timeout_s=4.0, silence_min_s=0.3)

    async def scene(sender: Sender) -> None:
        apns.order(effect="delay", delay_ms=800)  # longer than a silence is borne at first
        await sender.push_all(*range(60))

    sender = play(apns, scene, limits)
    assert apns.arrived() == Counter(ids(range(60)))
    assert sender.ambiguous == 0
    left = sender.events["silent connection left"]
    assert 1 <= left <= 3  # until the first late answer has shown how slow they are


def test_pushes_that_met_a_closed_port_arrive_once_it_is_back(apns: Apns, taken_port: socket.socket) -> None:
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", apns.port)
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    async def scene(sender: Sender) -> None:
        assert isinstance(await sender.once(0), TransportFailure)
        async with await asyncio.start_server(forward, sock=taken_port):
            await sender.push_all(*range(200))
            await sender.transport.aclose()
            await asyncio.sleep(0.05)  # the two ends hang up

    play(replace(apns, port=taken_port.getsockname()[1]), scene)
    assert apns.arrived() == Counter(ids(range(200)))
    assert apns.connections() == 1


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(65536):
        writer.write(part)
        await writer.drain()
    writer.close()


def test_a_process_that_stood_still_does_not_blame_the_connection(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        await sender.push_all(0)
        push = asyncio.create_task(sender.push(1))
        await asyncio.sleep(0.005)
        time.sleep(2 * HASTY.silence_min_s)
        await push

    sender = play(apns, scene, HASTY)
    assert sender.events["silent connection left"] == 0
    assert (apns.connections(), sender.ambiguous) == (1, 0)


def test_the_environments_proxy_and_ca_bundle_change_nothing(apns: Apns, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, "/nonexistent")
    play(apns, lambda sender: sender.push_all(1, 2))


def test_silence_shorter_than_a_push_may_take_is_demanded() -> None:
    with pytest.raises(ValueError, match="silence_min_s"):
        Limits(push_timeout_s=2, silence_min_s=2)
