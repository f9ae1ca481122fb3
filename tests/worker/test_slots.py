"""Slots: how much may be in hand, and when reading is worth a round trip."""

import asyncio

import pytest

from proxy.worker.slots import Slots


def worth_reading(slots: Slots) -> int | None:
    """What a reader gets at once, None where it waits."""

    async def ask() -> int | None:
        try:
            async with asyncio.timeout(0.01):
                return await slots.worth_reading()
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
    slots = Slots(most)
    slots.take(used)
    assert (slots.used, slots.free) == (used, most - used)
    assert worth_reading(slots) == count


def test_a_waiting_reader_goes_on_as_soon_as_enough_are_released() -> None:
    async def scenario() -> None:
        slots = Slots(16)
        slots.take(16)
        reader = asyncio.create_task(slots.worth_reading())
        slots.release(1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not reader.done()
        slots.release(1)
        assert await reader == 2

    asyncio.run(scenario())


def test_the_last_release_wakes_a_reader_whatever_is_worth_reading() -> None:
    async def scenario() -> None:
        slots = Slots(3)
        slots.take(3)
        reader = asyncio.create_task(slots.worth_reading())
        await asyncio.sleep(0)
        slots.release(3)
        assert await reader == 3

    asyncio.run(scenario())
