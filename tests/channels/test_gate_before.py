"""The gate against the emulated APNs: one stream first, a limit that moves, and connections that end in every way."""

import asyncio
import json
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

from proxy.channels.before.transport import LEASE_LOST, Http2Gate, Limits, Route, always
from proxy.domain.transfers import FailureKind, Request, Response, TransportFailure

NOT_SENT = FailureKind.NOT_SENT
TIMED_OUT = FailureKind.TIMED_OUT

LIMITS = Limits(push_timeout_s=10.0, connect_timeout_s=5.0, wait_s=10.0, silence_min_s=5.0)
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
    """Repeats what is ambiguous at once and under the same ids, as the worker does."""

    apns: Apns
    gate: Http2Gate
    events: Counter[str]
    ambiguous: int = 0
    unsent: list[TransportFailure] = field(default_factory=list)

    async def push(self, number: int, may_send: Callable[[], bool] = always) -> Response | TransportFailure:
        while True:
            ended = await self.gate.send(self.apns.push(number), may_send)
            if isinstance(ended, Response):
                return ended
            assert "/" not in ended.reason.replace("HTTP/2", "")
            assert str(self.apns.port) not in ended.reason
            if not ended.sent:
                self.unsent.append(ended)
                return ended
            self.ambiguous += 1

    async def push_all(self, *numbers: int) -> None:
        """Push, and see every one of them answered 200."""
        ended = await asyncio.gather(*map(self.push, numbers))
        assert Counter(answer.status if isinstance(answer, Response) else answer for answer in ended) == {
            200: len(numbers)
        }


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
    """A port of ours on which nobody listens yet."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken


def play(apns: Apns, scene: Callable[[Sender], Awaitable[None]], limits: Limits = LIMITS) -> Sender:
    """Run a scene with a gate of its own. Afterwards nothing of it is left on the loop."""
    events: Counter[str] = Counter()

    async def run() -> Sender:
        gate = Http2Gate(Route(apns.ca_file), limits, lambda event: events.update([event]))
        sender = Sender(apns, gate, events)
        try:
            async with asyncio.timeout(15):
                await scene(sender)
        finally:
            await gate.aclose()
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


def test_a_reset_with_pushes_in_flight_loses_none_and_backs_off_for_none(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        await sender.push_all(0)
        apns.order(effect="reset", target=f"{200:064x}", times=1)
        await sender.push_all(*range(1, 201))

    sender = play(apns, scene)
    assert apns.arrived().keys() == ids(range(201))
    assert sender.events["probe failed"] == 0  # so nobody paused
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
    assert sender.events["push recalled"] == 200


def test_a_slow_push_on_a_connection_that_goes_away_holds_up_nobody(apns: Apns) -> None:
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


def test_a_worker_that_lost_its_lease_sends_nothing_more_of_what_libcurl_holds(apns: Apns) -> None:
    held = True
    arrived: set[str] = set()

    async def scene(sender: Sender) -> None:
        nonlocal held
        await sender.push_all(0)
        pushes = [asyncio.create_task(sender.push(number, lambda: held)) for number in range(1, 101)]
        await asyncio.sleep(0.1)
        held = False
        arrived.update(apns.arrived())
        ended = await asyncio.gather(*pushes)
        assert all(isinstance(end, Response) or end == TransportFailure(LEASE_LOST, NOT_SENT) for end in ended)

    sender = play(apns, scene, replace(LIMITS, most_streams=1))  # so that the others wait inside libcurl
    assert len(sender.unsent) > 50
    assert len(apns.arrived()) == 101 - len(sender.unsent)
    assert len(apns.arrived().keys() - arrived) <= 1  # the one that was on its way
    assert apns.connections() == 1


def test_no_push_leaves_without_the_lease_and_the_next_sender_has_its_turn(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        refused = asyncio.gather(*(sender.push(number, lambda: False) for number in range(10)))
        await sender.push_all(10)
        assert await refused == [TransportFailure(LEASE_LOST, NOT_SENT)] * 10

    play(apns, scene)
    assert apns.arrived() == Counter(ids(range(10, 11)))


def test_a_cancelled_push_ends_alone_whether_it_waits_or_flies(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        for cold in (True, False):
            pushes = [asyncio.create_task(sender.push(number)) for number in range(40)]
            await asyncio.sleep(0.002)
            for push in pushes[::2]:
                push.cancel()
            ended = await asyncio.gather(*pushes, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ended[::2]), cold
            assert all(isinstance(end, Response) for end in ended[1::2]), cold

    play(apns, scene)
    assert apns.connections() == 1


def test_a_closed_gate_answers_those_who_wait_those_in_flight_and_those_who_come(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        apns.order(effect="silence")
        pushes = [asyncio.create_task(sender.gate.send(apns.push(number))) for number in range(3)]
        await asyncio.sleep(0.1)
        await sender.gate.aclose()
        assert await asyncio.gather(*pushes, sender.gate.send(apns.push(3))) == [
            TransportFailure("transport closed", TIMED_OUT),
            *[TransportFailure("transport closed", NOT_SENT)] * 3,
        ]

    play(apns, scene)


def test_a_host_that_nobody_listens_on_is_tried_ever_more_rarely(apns: Apns, taken_port: socket.socket) -> None:
    gone = replace(apns, port=taken_port.getsockname()[1])

    async def scene(sender: Sender) -> None:
        refused = asyncio.gather(*map(sender.push, range(50)))
        assert await refused == [TransportFailure("connection refused", NOT_SENT)] * 50
        assert 2 <= sender.events["probe failed"] <= 5

    play(gone, scene, replace(LIMITS, wait_s=0.6))


def test_pushes_that_wait_for_a_dead_host_all_arrive_once_it_is_back(apns: Apns, taken_port: socket.socket) -> None:
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", apns.port)
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    async def scene(sender: Sender) -> None:
        pushes = asyncio.create_task(sender.push_all(*range(200)))
        await asyncio.sleep(0.25)
        assert sender.events["probe failed"] > 1
        async with await asyncio.start_server(forward, sock=taken_port):
            await pushes
            await sender.gate.aclose()
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


def test_a_server_whose_certificate_we_do_not_trust_is_sent_nothing(apns: Apns) -> None:
    async def scene(sender: Sender) -> None:
        assert await sender.push(1) == TransportFailure("certificate not trusted", NOT_SENT)

    play(replace(apns, ca_file=Route().trusted), scene, replace(LIMITS, wait_s=0.3))
    assert apns.connections() <= 4
    assert not apns.arrived()


def test_the_environments_proxy_and_ca_bundle_change_nothing(apns: Apns, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, "/nonexistent")
    play(apns, lambda sender: sender.push_all(1, 2))


def test_silence_shorter_than_a_push_may_take_is_demanded() -> None:
    with pytest.raises(ValueError, match="silence_min_s"):
        Limits(push_timeout_s=2, silence_min_s=2)
