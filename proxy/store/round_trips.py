"""Whole round trips on an event loop, to one server."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from redis.asyncio import ConnectionPool
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from proxy.store.packing import pack_commands
from proxy.store.troubles import is_no_masters

MOST_CONNECTIONS = 200  # opened as needed; every stream's blocking read takes one
_LATE_S = 0.25  # a timer so late fires in a process that got no processor time


class RoundTrips:
    """Kept connections for whole round trips, each with one time limit.

    The library sets a limit for each answer, and looks at a connection before each use: for eight commands that costs
    104 us of CPU where this takes 40, for a single one 53 instead of 20 (measured).
    """

    def __init__(self, pool: ConnectionPool, timeout_s: float) -> None:
        """`pool` makes the connections."""
        self._timeout_s, self._pool = timeout_s, pool
        self._idle: list[Any] = []
        self._failovers = 0
        self._room = asyncio.Semaphore(MOST_CONNECTIONS)

    async def ask(self, commands: Sequence[Sequence[Any]], seconds: float | None = None) -> list[Any]:
        """The answers in order; what the server says against one command is its answer, a ResponseError.

        `seconds`: instead of the ordinary time limit. Raises RedisError where there is no answer.
        """
        async with self._room:
            is_kept, failovers = bool(self._idle), self._failovers
            connection: Any = self._idle.pop() if is_kept else self._pool.make_connection()  # type: ignore[no-untyped-call]  # the library has no types here
            try:
                async with asyncio.timeout(None) as limit:
                    watched = _TimeLimit(limit, self._timeout_s if seconds is None else seconds)
                    try:
                        if not is_kept:
                            await self._connect(connection)
                        answers, is_demoted = await _exchange(connection, commands)
                    finally:
                        watched.end()
            except TimeoutError:
                await connection.disconnect(nowait=True)
                raise RedisTimeoutError("no answer in time") from None
            except BaseException:  # answers may be on their way still, which the next to use it would take for its own
                await connection.disconnect(nowait=True)
                await self._drop_idle()  # a store that has closed one has closed them all
                raise
            if is_demoted:
                await self.leave()
            if failovers != self._failovers:
                await connection.disconnect(nowait=True)
            else:
                self._idle.append(connection)
            return answers

    async def _connect(self, connection: Any) -> None:
        """A password and a database are an exchange too, and count for the time limit."""
        await connection.connect()

    async def leave(self) -> None:
        """All connections that there are now end, those in use once they are answered."""
        self._failovers += 1
        await self._drop_idle()

    async def aclose(self) -> None:
        await self._drop_idle()

    async def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.disconnect(nowait=True)


class _TimeLimit:
    """A time limit that begins anew where this process itself did not run when it ended.

    The answer may lie there unread. To throw it away would cost a starved worker all that a claim brought.
    """

    __slots__ = ("_due", "_limit", "_loop", "_seconds", "_timer")

    def __init__(self, limit: asyncio.Timeout, seconds: float) -> None:
        self._limit, self._seconds = limit, seconds
        self._loop = asyncio.get_running_loop()
        self._begin()

    def end(self) -> None:
        self._timer.cancel()

    def _begin(self) -> None:
        self._due = self._loop.time() + self._seconds
        self._timer = self._loop.call_at(self._due, self._expire)

    def _expire(self) -> None:
        now = self._loop.time()
        if now - self._due > _LATE_S:
            self._begin()
        else:
            self._limit.reschedule(now)


async def waited_for(tasks: Collection["asyncio.Future[Any]"], seconds: float) -> set["asyncio.Future[Any]"]:
    """Those that have not ended then. Where this process itself did not run at that moment what they wait for may lie
    there unread, and they are waited for anew.
    """
    clock, silent = asyncio.get_running_loop().time, set(tasks)
    while silent:
        due = clock() + seconds
        _, silent = await asyncio.wait(silent, timeout=seconds)
        if clock() - due <= _LATE_S:
            break
    return silent


async def _exchange(connection: Any, commands: Sequence[Sequence[Any]]) -> tuple[list[Any], bool]:
    """The answers, and whether one of them is no master's."""
    await connection.send_packed_command([pack_commands(commands)], check_health=False)
    answers: list[Any] = []
    is_demoted = False
    for _ in commands:
        try:
            answers.append(await connection.read_response(disable_decoding=True))
        except ResponseError as error:
            answers.append(error)
            is_demoted = is_demoted or is_no_masters(error)
    return answers, is_demoted
