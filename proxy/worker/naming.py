"""Messages whose payload lacks a name: each waits for its own, and what was said later in its conversation waits too.

    sort -> those that need not wait, with what is known
         -> the others, a line for each conversation -> go_on, in order, once their names have come

So a slow answer holds up its own conversation, and for no longer than a question may take: a message asks when it
comes, not when it is its turn.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from proxy.domain.profiles import NOT_KNOWN, Profile, Question
from proxy.profiles.lookup import ProfileLookup
from proxy.worker.in_flight import InFlightLimit
from proxy.worker.tasks import Tasks

MOST_WAITING: Final = 512  # beyond them the account is shown: names are worth no backlog

T = TypeVar("T")


class Unnamed(NamedTuple, Generic[T]):
    """A message in its conversation. `question` None: it has all its names."""

    message: T
    conversation: str
    question: Question | None


@dataclass
class _Waiting(Generic[T]):
    message: T
    profile: "asyncio.Future[Profile]"
    done: "asyncio.Future[None]"


class Naming(Generic[T]):
    """`go_on` gets messages of one conversation with their names, in order. What waits takes no place in flight."""

    def __init__(
        self,
        profiles: ProfileLookup,
        go_on: Callable[[Sequence[tuple[T, Profile]]], Awaitable[None]],
        in_flight: InFlightLimit,
        tasks: Tasks,
    ) -> None:
        self._profiles, self._go_on, self._tasks = profiles, go_on, tasks
        self._in_flight, self._most_in_flight = in_flight, in_flight.most
        self._lines: dict[str, deque[_Waiting[T]]] = {}
        self._waiting: set[asyncio.Future[None]] = set()

    def sort(self, messages: Sequence[Unnamed[T]]) -> list[tuple[T, Profile]]:
        """Those that can go on now; `go_on` gets the others later."""
        now = list[tuple[T, Profile]]()
        for message, conversation, question in messages:
            profile = self._profiles.known(question) if question else NOT_KNOWN
            line = self._lines.get(conversation)
            if profile is None and len(self._waiting) >= MOST_WAITING:
                profile = NOT_KNOWN
            if profile is not None and line is None:
                now.append((message, profile))
            else:
                self._wait(message, conversation, question if profile is None else None, profile)
        return now

    @property
    def waiting(self) -> "list[asyncio.Future[None]]":
        """Each is done once its message has gone on."""
        return list(self._waiting)

    def _wait(self, message: T, conversation: str, question: Question | None, profile: Profile | None) -> None:
        loop = asyncio.get_running_loop()
        name: asyncio.Future[Profile]
        if question is None:
            name = loop.create_future()
            name.set_result(profile or NOT_KNOWN)
        else:
            name = self._profiles.ask(question)
        waiting = _Waiting(message, name, loop.create_future())
        self._waiting.add(waiting.done)
        self._make_room()
        if conversation in self._lines:
            self._lines[conversation].append(waiting)
        else:
            self._lines[conversation] = deque([waiting])
            self._tasks.start(self._work_off(conversation, self._lines[conversation]))

    async def _work_off(self, conversation: str, line: deque[_Waiting[T]]) -> None:
        try:
            while line:
                await asyncio.wait([line[0].profile])
                going = list[_Waiting[T]]()
                while line and line[0].profile.done():
                    going.append(line.popleft())
                try:
                    await self._go_on([(one.message, one.profile.result()) for one in going])
                finally:
                    for one in going:
                        self._end(one)
        finally:
            del self._lines[conversation]

    def _end(self, one: _Waiting[T]) -> None:
        one.done.set_result(None)
        self._waiting.remove(one.done)
        self._make_room()

    def _make_room(self) -> None:
        self._in_flight.allow(self._most_in_flight + min(len(self._waiting), MOST_WAITING))
