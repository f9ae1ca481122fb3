"""Who may work next: in turns of the loop, which are counted, and not in time."""

import asyncio
from collections.abc import Awaitable, Callable

from proxy.worker.turns import SLICE, Turns

_SLICES = 3


async def work(turns: Turns, name: str, done: list[str]) -> None:
    """A batch, of which each slice is noted once."""
    for place in range(_SLICES * SLICE):
        await turns.after(place)
        if place % SLICE == 0:
            done.append(name)


def see(scenario: Callable[[Turns], Awaitable[None]]) -> None:
    async def run() -> None:
        await scenario(Turns())

    asyncio.run(run())


async def a_small_batch(turns: Turns) -> None:
    with turns.small(1):
        pass


def test_batches_go_in_slices_one_a_turn_where_some_have_much_and_others_little() -> None:
    async def scenario(turns: Turns) -> None:
        turns.flood()
        await a_small_batch(turns)
        done = list[str]()
        await asyncio.gather(work(turns, "push", done), work(turns, "plan", done))
        assert done == ["push", "plan"] * _SLICES

    see(scenario)


def test_a_small_batch_goes_before_the_next_slice_through_all_its_round_trips() -> None:
    async def scenario(turns: Turns) -> None:
        turns.flood()
        done = list[str]()

        async def small() -> None:
            with turns.small(1):
                for _ in range(20):
                    await asyncio.sleep(0)
            done.append("small")

        await asyncio.gather(small(), work(turns, "flood", done))
        assert done == ["flood", "small", "flood", "flood"]

    see(scenario)


def test_small_batches_without_an_end_hold_up_no_flood_for_ever() -> None:
    async def scenario(turns: Turns) -> None:
        turns.flood()
        done = list[str]()
        with turns.small(1):
            await work(turns, "flood", done)
        assert len(done) == _SLICES

    see(scenario)


def test_a_batch_goes_in_one_where_nobody_has_little_or_nobody_much() -> None:
    async def scenario(turns: Turns) -> None:
        turns.flood()
        done = list[str]()
        await asyncio.gather(work(turns, "push", done), work(turns, "plan", done))
        assert done == ["push"] * _SLICES + ["plan"] * _SLICES

    async def no_flood(turns: Turns) -> None:
        await a_small_batch(turns)
        done = list[str]()
        await asyncio.gather(work(turns, "push", done), work(turns, "plan", done))
        assert done == ["push"] * _SLICES + ["plan"] * _SLICES

    see(scenario)
    see(no_flood)


def test_who_is_cancelled_while_they_wait_takes_no_turn_of_others() -> None:
    async def scenario(turns: Turns) -> None:
        turns.flood()
        await a_small_batch(turns)
        done = list[str]()
        leaving = asyncio.create_task(work(turns, "leaving", done))
        await asyncio.sleep(0)
        leaving.cancel()
        await work(turns, "plan", done)
        assert done == ["leaving"] + ["plan"] * _SLICES

    see(scenario)
