"""How much may be in flight, and when reading is worth a round trip."""

import asyncio

import pytest

from proxy.worker.in_flight import InFlightLimit


def worth_reading(limit: InFlightLimit) -> int | None:
    """What a reader gets at once, None where it waits."""

    async def ask() -> int | None:
        try:
            async with asyncio.timeout(0.01):
                return await limit.worth_reading()
        except TimeoutError:
            return None

    return asyncio.run(ask())


@pytest.mark.parametrize(("most", "used", "count"), [
    (400, 0, 400),
    (400, 350, 50),
    (400, 351, None),  # fewer than 50 are no batch: wait
    (16, 15, None),
    (16, 14, 2),
    (1, 0, 1),
    (1, 1, None),
    (10, 12, None),  # claim and take-over at once may go beyond
])  # fmt: skip
def test_a_reader_waits_until_enough_are_free(most: int, used: int, count: int | None) -> None:
    limit = InFlightLimit(most)
    limit.take(used)
    assert (limit.used, limit.free) == (used, most - used)
    assert worth_reading(limit) == count


def test_a_waiting_reader_goes_on_as_soon_as_enough_are_released() -> None:
    async def scenario() -> None:
        limit = InFlightLimit(16)
        limit.take(16)
        reader = asyncio.create_task(limit.worth_reading())
        limit.release(1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not reader.done()
        limit.release(1)
        assert await reader == 2

    asyncio.run(scenario())


def test_the_last_release_wakes_a_reader_whatever_is_worth_reading() -> None:
    async def scenario() -> None:
        limit = InFlightLimit(3)
        limit.take(3)
        reader = asyncio.create_task(limit.worth_reading())
        await asyncio.sleep(0)
        limit.release(3)
        assert await reader == 3

    asyncio.run(scenario())


def test_a_limit_that_is_raised_wakes_a_reader_and_one_that_is_lowered_takes_nothing_away() -> None:
    async def scenario() -> None:
        limit = InFlightLimit(4)
        limit.take(4)
        reader = asyncio.create_task(limit.worth_reading())
        await asyncio.sleep(0)
        limit.allow(8)
        assert await reader == 4
        limit.allow(1)
        assert (limit.used, limit.free) == (4, -3)
        limit.release(4)
        assert await limit.worth_reading() == 1

    asyncio.run(scenario())
