"""Callbacks to one webhook: over a socket to a receiver that the test tells what to answer, out of a real store."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from proxy.channels.factory import TransportFactory
from proxy.channels.transfer import Limits
from proxy.channels.webhooks.wire import WebhookWire
from proxy.domain.forwards import Forward
from proxy.domain.lanes import Pause, PauseKind
from proxy.domain.webhooks import lane_of_webhook
from proxy.local.ports import free_port
from proxy.settings import WebhookSettings
from proxy.store import keys
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.queue.streams import RedisQueue
from proxy.store.records import dump_forward, load_dead_letter, load_forward
from proxy.worker.consumer import StreamConsumer
from proxy.worker.event_loop_watchdog import EventLoopWatchdog
from proxy.worker.forwarding import WebhookWorker
from proxy.worker.lane_control import LaneControl
from proxy.worker.leases import Leases
from proxy.worker.observer import RelayObserver
from tests.receiver import SECRET, Received, Receiver, accepting, always
from tests.store.samples import DAY, LAYOUT, LEASE, MS, NO_WAIT, NOON, SECOND, queue_of, with_redis
from tests.worker.lane_bench import Logged

BODY = b'{"msgType":"NORMAL_MSG","payload":"the words of ann","sequence":12345678901234567890}'
BREAKER = 3
Scenario = Callable[["Bench"], Awaitable[None]]
OnBench = Callable[..., None]


class Bench:
    """One webhook's worker; the store's own lease is short, so that take-overs need no waiting."""

    def __init__(self, redis: Any, app_id: str, logged: Logged, url: str, dead_cap: int = 2000) -> None:
        self.redis, self.lane, self.logged = redis, lane_of_webhook(app_id, "main", "crm"), logged
        self.now: datetime = NOON
        settings = WebhookSettings.model_validate({"name": "crm", "app": "main", "url": url, "secret": SECRET})
        self.queue = RedisQueue(redis, "worker-1", lease=MS, dedupe_ttl=DAY, jobs_cap=5000, dead_cap=dead_cap)
        self.transports = TransportFactory(Limits(), lambda _event: None)
        self.lane_states = RedisLaneStates(redis, "worker-1")
        self.leases = Leases(LEASE.total_seconds())
        observer = RelayObserver(app_id, self.lane)
        self.consumer = StreamConsumer(
            self.lane, self.queue, self.leases, partial(self.queue.settle_jobs, self.lane), observer,
            in_flight=20, block=NO_WAIT,
        )  # fmt: skip
        self.control = LaneControl(
            self.lane, self.lane_states, EventLoopWatchdog(time.monotonic), observer, breaker_failures=BREAKER,
            first_probe=SECOND, probe_every=30 * SECOND, probe_lease=LEASE, clock=time.monotonic,
        )  # fmt: skip
        self.worker = WebhookWorker(
            self.lane, WebhookWire(settings), self.transports.webhook(settings), self.consumer, self.control, observer,
            backoff=lambda attempt: SECOND * 2**attempt, in_flight=20, patience=20 * SECOND, now=lambda: self.now,
            clock=time.monotonic,
        )  # fmt: skip
        self._settling = asyncio.create_task(self.consumer.run_settling())

    async def end(self) -> None:
        self._settling.cancel()
        await self.worker.abandon()
        await self.transports.aclose()

    async def put(self, *ids: str, life: timedelta = DAY) -> None:
        await self.queue.ensure_groups(self.lane)
        for id_ in ids:
            forward = Forward("main", self.lane.channel, id_, "NORMAL_MSG", NOON + life, BODY)
            await self.redis.xadd(LAYOUT.jobs(self.lane, 0), {"r": dump_forward(forward)})

    async def turn(self) -> None:
        await self.worker.claim()
        await self.worker.drained()

    async def later(self, by: timedelta) -> None:
        """What is due by then goes back to the lane."""
        self.now += by
        await queue_of(self.redis).move_due([self.lane], [], self.now, 100)

    async def probe_is_due(self) -> None:
        await self.redis.delete(keys.probe(self.lane))

    async def retries(self) -> list[tuple[Forward, float]]:
        found = await self.redis.zrange(LAYOUT.retries(self.lane, 0), 0, -1, withscores=True)
        return [(load_forward(record), score / 1000 - self.now.timestamp()) for record, score in found]

    async def pause(self) -> Pause | None:
        return (await self.lane_states.states([self.lane]))[self.lane].pause

    async def dead_letters(self) -> list[tuple[str, Any]]:
        found = await self.redis.xrange(LAYOUT.dead_letters(self.lane.app_id, 0))
        return [
            (fields[b"reason"].decode(), load_dead_letter(fields[b"kind"].decode(), fields[b"r"]))
            for _, fields in found
        ]

    async def left(self) -> int:
        waiting: int = await self.redis.xlen(LAYOUT.jobs(self.lane, 0))
        return waiting + int(await self.redis.zcard(LAYOUT.retries(self.lane, 0)))


@pytest.fixture
def on_bench(store_url: str, app_id: str, logged: Logged) -> OnBench:
    def run(scenario: Scenario, url: str, **of: Any) -> None:
        async def to_its_end(redis: Any) -> None:
            bench = Bench(redis, app_id, logged, url, **of)
            try:
                async with asyncio.timeout(30):
                    await scenario(bench)
            finally:
                await bench.end()

        with_redis(store_url, to_its_end)

    return run


def ids(received: list[Received]) -> list[str]:
    return sorted(it.id for it in received)


def test_each_is_one_signed_request_with_the_body_as_it_is_and_then_it_is_gone(on_bench: OnBench) -> None:
    with Receiver() as receiver:

        async def scenario(bench: Bench) -> None:
            receiver.answer = accepting
            await bench.put("a", "b")
            await bench.turn()
            assert await bench.left() == 0
            assert (bench.consumer.in_flight.used, bench.leases.count()) == (0, 0)

        on_bench(scenario, receiver.url)
        assert ids(receiver.accepted) == ["a", "b"]
        assert {it.body for it in receiver.received} == {BODY}
        assert {it.headers["content-type"] for it in receiver.received} == {"application/json"}


def test_signature_and_time_are_good_by_the_library_of_the_scheme(on_bench: OnBench) -> None:
    with Receiver() as receiver:

        async def scenario(bench: Bench) -> None:
            bench.now = datetime.now(NOON.tzinfo)  # the library looks at its own clock
            await bench.put("a", life=3650 * DAY)
            await bench.turn()

        on_bench(scenario, receiver.url)
        assert [it.is_signed for it in receiver.received] == [True]


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 500, 503])
def test_anything_but_2xx_has_failed_and_is_tried_again_later_under_the_same_id(on_bench: OnBench, status: int) -> None:
    with Receiver() as receiver:
        receiver.answer = always(status, location=f"{receiver.url}&redirected=1")

        async def scenario(bench: Bench) -> None:
            await bench.put("a")
            await bench.turn()
            ((forward, due_s),) = await bench.retries()
            assert (forward.attempt, forward.reason, due_s) == (1, f"http {status}", 1.0)
            await bench.later(SECOND)
            await bench.turn()
            assert [(it.attempt, due_s) for it, due_s in await bench.retries()] == [(2, 2.0)]
            receiver.answer = accepting
            await bench.later(2 * SECOND)
            await bench.turn()
            assert await bench.left() == 0

        on_bench(scenario, receiver.url)
        assert ids(receiver.received) == ["a", "a", "a"]
        assert [it.path for it in receiver.received if "redirected" in it.path] == []


def test_after_a_day_it_is_a_dead_letter_without_words(on_bench: OnBench) -> None:
    with Receiver() as receiver:
        receiver.answer = always(500)

        async def scenario(bench: Bench) -> None:
            await bench.put("a")
            await bench.turn()
            await bench.later(DAY - SECOND)
            await bench.turn()
            ((reason, letter),) = await bench.dead_letters()
            assert reason == "not delivered in time: http 500"
            assert (letter.id, letter.body) == ("a", b"")
            assert await bench.left() == 0

        on_bench(scenario, receiver.url)


def test_an_endpoint_that_is_dead_for_long_leaves_half_of_the_room_for_dead_letters_to_alerts(
    on_bench: OnBench,
) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.put("a", "b", "c", life=-DAY)
        await bench.turn()
        assert [letter.id for _, letter in await bench.dead_letters()] == ["a", "b"]
        assert await bench.left() == 0

    with Receiver() as receiver:
        on_bench(scenario, receiver.url, dead_cap=4)


def test_410_pauses_the_lane_until_the_operator_resumes_it_and_nothing_is_lost(on_bench: OnBench) -> None:
    with Receiver() as receiver:
        receiver.answer = always(410)

        async def scenario(bench: Bench) -> None:
            await bench.put("a")
            await bench.turn()
            pause = await bench.pause()
            assert pause is not None
            assert (pause.reason, pause.kind) == ("http 410", PauseKind.FAULT)
            await bench.put("b")
            receiver.answer = accepting
            for _ in range(3):  # no probe goes out
                await bench.later(SECOND)
                await bench.turn()
            assert (len(receiver.received), await bench.left()) == (1, 2)
            await bench.lane_states.resume(bench.lane)
            await bench.turn()
            await bench.turn()
            assert await bench.left() == 0

        on_bench(scenario, receiver.url)
        assert ids(receiver.accepted) == ["a", "b"]


def test_what_is_too_old_in_a_lane_that_stays_paused_becomes_a_dead_letter(on_bench: OnBench) -> None:
    with Receiver() as receiver:
        receiver.answer = always(410)

        async def scenario(bench: Bench) -> None:
            await bench.put("a")
            await bench.turn()
            await bench.put("b")
            await bench.later(DAY)
            await bench.put("c", life=2 * DAY)
            bench.worker._expired_at -= 100
            await bench.turn()
            assert sorted(letter.id for _, letter in await bench.dead_letters()) == ["a", "b"]
            assert len(receiver.received) == 1
            assert await bench.left() == 1

        on_bench(scenario, receiver.url)


def test_an_endpoint_that_fails_all_pauses_its_lane_and_a_probe_ends_the_pause(on_bench: OnBench) -> None:
    with Receiver() as receiver:
        receiver.answer = always(500)

        async def scenario(bench: Bench) -> None:
            await bench.put("a", "b", "c")
            await bench.turn()
            pause = await bench.pause()
            assert pause is not None
            assert pause.kind is PauseKind.BREAKER
            await bench.later(SECOND)
            await bench.probe_is_due()
            await bench.turn()
            assert len(receiver.received) == 4  # the probe
            assert await bench.pause() is not None
            receiver.answer = accepting
            await bench.probe_is_due()
            await bench.later(SECOND)
            await bench.turn()
            assert await bench.pause() is None
            await bench.later(SECOND)
            await bench.turn()
            assert await bench.left() == 0

        on_bench(scenario, receiver.url)
        assert ids(receiver.accepted) == ["a", "b", "c"]


def test_callbacks_that_are_refused_for_what_they_say_pause_no_lane(on_bench: OnBench) -> None:
    with Receiver() as receiver:
        receiver.answer = always(422)

        async def scenario(bench: Bench) -> None:
            await bench.put(*(f"bad-{number}" for number in range(12)))
            await bench.turn()
            assert await bench.pause() is None
            receiver.answer = accepting
            await bench.put("good")
            await bench.turn()
            assert ids(receiver.accepted) == ["good"]

        on_bench(scenario, receiver.url)


def test_a_probe_that_is_refused_for_what_it_says_shows_that_the_endpoint_is_there(on_bench: OnBench) -> None:
    with Receiver() as receiver:
        receiver.answer = always(500)

        async def scenario(bench: Bench) -> None:
            await bench.put("a", "b", "c")
            await bench.turn()
            assert await bench.pause() is not None
            receiver.answer = always(422)
            await bench.later(SECOND)
            await bench.probe_is_due()
            await bench.turn()
            assert await bench.pause() is None

        on_bench(scenario, receiver.url)


def test_an_endpoint_that_asks_for_time_gets_it(on_bench: OnBench) -> None:
    with Receiver() as receiver:
        receiver.answer = always(429, retry_after="7")

        async def scenario(bench: Bench) -> None:
            await bench.put("a")
            await bench.turn()
            pause = await bench.pause()
            assert pause is not None
            assert pause.kind is PauseKind.REST
            assert 1000 < await bench.redis.pttl(keys.probe(bench.lane)) <= 7000  # a breaker's first is 1 s

        on_bench(scenario, receiver.url)


def test_an_endpoint_that_is_not_there_is_tried_again_and_no_address_is_logged(
    on_bench: OnBench, logged: Logged
) -> None:
    url = f"http://127.0.0.1:{free_port()}/hooks?key=in-the-address"

    async def scenario(bench: Bench) -> None:
        await bench.put("a")
        await bench.turn()
        ((forward, _),) = await bench.retries()
        assert forward.attempt == 1

    on_bench(scenario, url)
    assert "in-the-address" not in str(logged)


def test_what_a_dead_worker_left_goes_out_under_the_same_id(on_bench: OnBench) -> None:
    with Receiver() as receiver:

        async def scenario(bench: Bench) -> None:
            await bench.put("a")
            dead = queue_of(bench.redis, "dead", lease=MS)
            assert len((await dead.claim(bench.lane, 10, NO_WAIT)).entries) == 1
            await asyncio.sleep(0.005)
            await bench.worker.take_over()
            await bench.worker.drained()
            assert await bench.left() == 0

        on_bench(scenario, receiver.url)
        assert ids(receiver.accepted) == ["a"]


def test_what_has_not_left_when_the_worker_ends_goes_back_untried(on_bench: OnBench) -> None:
    with Receiver() as receiver:

        async def scenario(bench: Bench) -> None:
            await bench.put("a")
            bench.worker.close()
            await bench.turn()
            ((forward, due_s),) = await bench.retries()
            assert (replace(forward, body=b"").attempt, due_s) == (0, 0.0)

        on_bench(scenario, receiver.url)
        assert receiver.received == []


def test_what_cannot_be_read_or_ends_its_workers_becomes_a_dead_letter(on_bench: OnBench) -> None:
    with Receiver() as receiver:

        async def scenario(bench: Bench) -> None:
            await bench.put()
            await bench.redis.xadd(LAYOUT.jobs(bench.lane, 0), {"r": b'{"v":9}\nbody'})
            await bench.turn()
            assert [reason for reason, _ in await bench.dead_letters()] == ["unreadable record"]

        on_bench(scenario, receiver.url)
