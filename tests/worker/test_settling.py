"""Settling: in batches, in order, and until the store has taken it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from redis.exceptions import ConnectionError as RedisConnectionError

from proxy.domain.dead_letters import Cause
from proxy.ports import Bury, Entry, Finish, Settlement
from proxy.worker.holdings import Holdings
from proxy.worker.settling import Settler


@dataclass
class Settling:
    """A settler of the stream "jobs", and a store that fails `failures` times."""

    failures: int = 0
    foreign: list[bytes] = field(default_factory=list)
    batches: list[list[bytes]] = field(default_factory=list)
    freed: list[int] = field(default_factory=list)
    holdings: Holdings = field(default_factory=lambda: Holdings(15.0))

    def __post_init__(self) -> None:
        self.settler = Settler("jobs", self.carry_out, self.holdings, self.freed.append)

    async def carry_out(self, batch: Sequence[Settlement]) -> list[bytes]:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise RedisConnectionError
        self.batches.append([it.entry_id for it in batch])
        return [id_ for id_ in self.foreign if id_ in self.batches[-1]]

    def add(self, *ids: bytes) -> None:
        self.holdings.take("jobs", ids, self.holdings.clock())
        for id_ in ids:
            self.settler.add(Finish(id_))


def while_it_runs(settling: Settling, scenario: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        running = asyncio.create_task(settling.settler.run())
        try:
            await scenario()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


def test_a_dead_letter_is_told_once_the_store_has_it_and_not_if_the_entry_was_anothers() -> None:
    settling, buried = Settling(failures=1, foreign=[b"2"]), list[Bury]()
    settling.settler = Settler("jobs", settling.carry_out, settling.holdings, settling.freed.append, buried.append)
    letters = [Bury(id_, Cause.POISON, "poison", Entry(id_, b"?")) for id_ in (b"1", b"2")]

    async def scenario() -> None:
        for letter in letters:
            settling.settler.add(letter)
        await settling.settler.empty()

    while_it_runs(settling, scenario)
    assert buried == letters[:1]


def test_settlements_that_come_together_leave_together_and_in_order() -> None:
    settling = Settling()

    async def scenario() -> None:
        settling.add(b"1", b"2")
        await asyncio.sleep(0)
        settling.add(b"3")
        await settling.settler.empty()
        settling.add(b"4")
        await settling.settler.empty()

    while_it_runs(settling, scenario)
    assert settling.batches == [[b"1", b"2", b"3"], [b"4"]]
    assert settling.freed == [3, 1]
    assert settling.holdings.count() == 0


def test_what_comes_while_the_store_is_asked_is_not_forgotten() -> None:
    settling = Settling()

    async def scenario() -> None:
        for n in range(20):
            settling.add(str(n).encode())
            await asyncio.sleep(0.001)
        await settling.settler.empty()

    while_it_runs(settling, scenario)
    assert [id_ for batch in settling.batches for id_ in batch] == [str(n).encode() for n in range(20)]
    assert sum(settling.freed) == 20


def test_a_store_that_is_away_is_waited_for_and_until_then_the_entry_is_known_as_decided() -> None:
    settling = Settling(failures=1)

    async def scenario() -> None:
        settling.add(b"1")
        assert settling.settler.has(b"1")
        await asyncio.sleep(0.05)
        assert settling.settler.has(b"1")
        assert settling.freed == []
        await settling.settler.empty()
        assert not settling.settler.has(b"1")

    while_it_runs(settling, scenario)
    assert settling.batches == [[b"1"]]


def test_entries_that_another_worker_took_over_leave_our_hands_too() -> None:
    settling = Settling(foreign=[b"2"])

    async def scenario() -> None:
        settling.add(b"1", b"2")
        await settling.settler.empty()

    while_it_runs(settling, scenario)
    assert settling.freed == [2]
    assert settling.holdings.count() == 0


def test_with_nothing_to_settle_it_is_empty_at_once() -> None:
    settling = Settling()
    while_it_runs(settling, settling.settler.empty)
