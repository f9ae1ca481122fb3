"""Profiles by question: remembered for a while, asked for once however many wait, and never waited for long.

    known   what can be said at once: it is remembered, or the server is left alone for a while
    ask     the server's answer, or NOT_KNOWN once `timeout_s` is over

The breaker is that of domain/service_state.py.
"""

import asyncio
import secrets
import sys
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from time import monotonic

from proxy.domain.profiles import NOT_KNOWN, Profile, Question
from proxy.domain.service_state import BreakerRules, ServiceState
from proxy.domain.transfers import FailureKind, Response
from proxy.ports import Transport
from proxy.profiles.wire import ProfileWire

_MOST_KEPT = 20_000
_MOST_BYTES = 16 * 1024 * 1024
_ENTRY_BYTES = 400  # of a dictionary, a tuple and a profile around their texts
_UNKNOWN_S = 60.0  # a new user may get a name soon
_FAILED_S = 5.0
_SPREAD = 0.2  # or all that was asked together after a start would be asked together again
_FAILURES, _PAUSE_S, _PAUSE_MAX_S = 5, 1.0, 30.0


class Answer(StrEnum):
    """What became of a question, for metrics."""

    NAMED = "named"
    UNKNOWN = "unknown"
    FAILED = "failed"
    LATE = "no connection free in time"


class ProfileLookup:
    """For one event loop. `clock` is monotonic, in seconds; `chance` gives 0..1.

    `on_answer` gets each answer, `on_pause` is called where the server is left alone from then on.
    """

    def __init__(
        self,
        wire: ProfileWire,
        transport: Transport,
        *,
        timeout_s: float,
        keep_s: float,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        chance: Callable[[], float],
        on_answer: Callable[[Answer], None],
        on_pause: Callable[[], None],
        most_kept: int = _MOST_KEPT,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        self._wire, self._transport, self._timeout_s, self._keep_s = wire, transport, timeout_s, keep_s
        self._now, self._clock, self._chance = now, clock, chance
        self._on_answer, self._on_pause = on_answer, on_pause
        self._rules = BreakerRules(_FAILURES, _PAUSE_S, _PAUSE_MAX_S, probe_s=timeout_s + 1)
        self._state = ServiceState()
        self._kept = _Kept(most_kept, most_bytes)
        self._asked: dict[Question, asyncio.Task[Profile]] = {}

    def use(self, wire: ProfileWire) -> None:
        """From now on: a secret has changed."""
        self._wire = wire

    def known(self, question: Question) -> Profile | None:
        """None: only `ask` can tell."""
        profile = self._kept.get(question, self._clock())
        if profile is None and question not in self._asked and self._state.wait_s(self._clock()):
            return NOT_KNOWN
        return profile

    def ask(self, question: Question) -> "asyncio.Task[Profile]":
        """Never fails. All who ask the same meanwhile get the same task: callers must not cancel it."""
        task = self._asked.get(question)
        if task is None:
            is_probe, self._state = self._state.paused_s > 0, self._state.asked(self._clock(), self._rules)
            fetch = self._fetch(question, is_probe=is_probe)
            task = self._asked[question] = asyncio.get_running_loop().create_task(fetch)
            task.add_done_callback(lambda _: self._asked.pop(question, None))
        return task

    async def _fetch(self, question: Question, *, is_probe: bool) -> Profile:
        answer, profile = await self._answer(question)
        self._on_answer(answer)
        if answer is Answer.FAILED:
            self._failed(question, was_probe=is_probe)
        elif answer is not Answer.LATE:
            self._state = self._state.after_answer()
        if seconds := self._worth_s(answer):
            self._kept.put(question, profile, self._clock() + seconds * (1 - _SPREAD * self._chance()))
        return profile

    async def _answer(self, question: Question) -> tuple[Answer, Profile]:
        has_left = False
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    await self._transport.reserve(1)
                    is_first, has_left = not has_left, True
                    request = self._wire.build(question, secrets.token_hex(16), self._now())
                    answer = await self._transport.send(request, monotonic() + self._timeout_s)
                    if isinstance(answer, Response):
                        break
                    if not (is_first and answer.kind is FailureKind.BROKEN):  # a kept one, closed just then
                        return Answer.FAILED, NOT_KNOWN
        except TimeoutError:
            return Answer.FAILED if has_left else Answer.LATE, NOT_KNOWN
        profile = self._wire.read(question, answer)
        if profile is None:
            return Answer.FAILED, NOT_KNOWN
        return Answer.NAMED if profile != NOT_KNOWN else Answer.UNKNOWN, profile

    def _failed(self, question: Question, *, was_probe: bool) -> None:
        before = self._state
        self._state = before.after_failure(question.account, was_probe=was_probe, now=self._clock(), rules=self._rules)
        if self._state.paused_s and not before.paused_s:
            self._on_pause()

    def _worth_s(self, answer: Answer) -> float:
        match answer:
            case Answer.NAMED:
                return self._keep_s
            case Answer.UNKNOWN:
                return min(_UNKNOWN_S, self._keep_s)
            case Answer.FAILED:
                return _FAILED_S
            case Answer.LATE:
                return 0.0


class _Kept:
    """Profiles with an end, so many and so many bytes at most: of too many the one that was used longest ago goes."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes, self._bytes = most, most_bytes, 0
        self._kept: OrderedDict[Question, tuple[float, Profile]] = OrderedDict()

    def get(self, question: Question, now: float) -> Profile | None:
        until, profile = self._kept.get(question, (0.0, None))
        if profile is None or now >= until:
            return None
        self._kept.move_to_end(question)
        return profile

    def put(self, question: Question, profile: Profile, until: float) -> None:
        if question in self._kept:
            self._bytes -= _size(question, self._kept.pop(question)[1])
        self._kept[question] = until, profile
        self._bytes += _size(question, profile)
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            self._bytes -= _size(*self._popped())

    def _popped(self) -> tuple[Question, Profile]:
        question, (_, profile) = self._kept.popitem(last=False)
        return question, profile


def _size(question: Question, profile: Profile) -> int:
    texts = (*question, profile.name, profile.group_name, profile.avatar)
    return _ENTRY_BYTES + sum(map(sys.getsizeof, texts))
