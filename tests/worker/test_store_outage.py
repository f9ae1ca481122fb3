"""A store that is away is one line in the log of a worker, with its address, and its return is another."""

import asyncio
import os
import signal

from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from proxy.wiring.worker import build_worker
from proxy.worker.store_outage import StoreOutage
from tests.web.world import settings

AWAY = {
    "event": "the store does not answer, waiting", "at": "127.0.0.1:6379", "error": "ConnectionError",
    "log_level": "warning",
}  # fmt: skip
BACK = {"event": "the store answers again", "at": "127.0.0.1:6379", "log_level": "info"}


def test_an_outage_is_told_once_and_ends_when_all_that_noticed_it_are_served_again() -> None:
    async def scenario() -> None:
        outage, served = StoreOutage("127.0.0.1:6379"), asyncio.Event()

        async def loop() -> None:
            for _ in range(3):
                outage.failed(RedisConnectionError())
            await served.wait()
            outage.answered()

        async def is_cut_off() -> None:
            outage.failed(RedisConnectionError())

        loops = [asyncio.create_task(loop()) for _ in range(3)]
        await asyncio.create_task(is_cut_off())
        outage.answered()  # of another, which it never failed
        assert logged == [AWAY]
        served.set()
        await asyncio.gather(*loops)
        assert logged == [AWAY, BACK]

    with capture_logs() as logged:
        asyncio.run(scenario())


def test_all_loops_of_a_worker_say_together_which_store_is_away() -> None:
    async def scenario() -> None:
        worker, _ = build_worker(settings(store={"url": "redis://:hidden@127.0.0.1:1/0"}))
        running = asyncio.create_task(worker.run())
        while worker.readiness.store_answers:  # by then all of its loops have asked
            await asyncio.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)
        await running

    with capture_logs() as logged:
        asyncio.run(scenario())
    assert [line for line in logged if line["log_level"] == "warning"] == [AWAY | {"at": "127.0.0.1:1"}]
