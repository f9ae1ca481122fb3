"""While the TokenService gives no answers, calls are refused at once, and one at a time goes and looks."""

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import islice

import pytest

from proxy.domain.service_state import BreakerRules
from proxy.domain.transfers import FailureKind, Paused, Response, TransportFailure
from proxy.usecases.guarded_mimc import GuardedTokens, MimcGuard

GONE = TransportFailure("timed out", FailureKind.TIMED_OUT)
TOKEN = Response(200, {}, b"{}")


@dataclass
class Service:
    """Implements ports.TokenService; while `hold` is set a call waits for it."""

    answer: Response | TransportFailure = GONE
    calls: list[tuple[str, str]] = field(default_factory=list)
    hold: threading.Event | None = None

    def issue(self, app: str, account: str) -> Response | TransportFailure:
        self.calls.append((app, account))
        if self.hold:
            self.hold.wait(10)
        return self.answer


class World:
    def __init__(self) -> None:
        self.now, self.service, self.paused = 0.0, Service(), list[str]()
        self.guard = MimcGuard(BreakerRules(2, 1.0, 8.0, 3.0), self.paused.append, lambda: self.now)
        self.tokens = GuardedTokens(self.service, self.guard)


def test_a_silent_service_is_asked_no_more_and_then_by_one_call() -> None:
    world = World()
    assert [world.tokens.issue("main", account) for account in "ab"] == [GONE, GONE]
    assert world.paused == ["main"]
    assert [world.tokens.issue("main", account) for account in "cd"] == [Paused(1.0)] * 2
    assert len(world.service.calls) == 2
    world.now, world.service.answer = 1.0, TOKEN
    assert [world.tokens.issue("main", account) for account in "cd"] == [TOKEN, TOKEN]


def test_while_the_probe_is_out_all_others_are_refused() -> None:
    world = World()
    for account in "ab":
        world.tokens.issue("main", account)
    world.now, world.service.hold, world.service.answer = 1.0, threading.Event(), TOKEN
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(world.tokens.issue, "main", account) for account in "cdef"]
        others = [one.result() for one in islice(as_completed(asked, timeout=10), 3)]
        world.service.hold.set()
    assert all(isinstance(answer, Paused) for answer in others)
    assert len(world.service.calls) == 3


def test_another_app_is_another_service() -> None:
    world = World()
    for account in "ab":
        world.tokens.issue("main", account)
    assert world.tokens.issue("other", "a") == GONE


@pytest.mark.parametrize(
    "answer",
    [
        Response(200, {}, b'{"code":401}'),
        Response(403, {}, b""),
        TransportFailure("answer repeats our credentials", FailureKind.WITHHELD),
    ],
)
def test_a_refusal_and_an_answer_that_is_withheld_show_that_the_service_is_there(
    answer: Response | TransportFailure,
) -> None:
    world = World()
    world.service.answer = answer
    assert [world.tokens.issue("main", account) for account in "abcd"] == [answer] * 4


def test_a_service_that_says_that_it_fails_itself_is_left_alone_like_a_silent_one() -> None:
    world = World()
    world.service.answer = Response(502, {}, b"")
    assert [world.tokens.issue("main", account) for account in "abc"] == [world.service.answer] * 2 + [Paused(1.0)]
