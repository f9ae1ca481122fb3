"""Answers that are remembered for a while and asked for once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from proxy.auth.single_flight import CachedAnswer, SingleFlight


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def answers(clock: Clock, most: int = 10, patience_s: float = 5) -> SingleFlight[str]:
    return SingleFlight(most, patience_s, "too late", clock)


def never() -> CachedAnswer[str]:
    raise AssertionError("asked again")


def test_an_answer_holds_for_its_seconds_and_not_longer() -> None:
    clock = Clock()
    shared = answers(clock)
    assert shared.get(b"q", lambda: CachedAnswer("a", 5)) == "a"
    clock.now += 4.9
    assert shared.get(b"q", never) == "a"
    clock.now += 0.1
    assert shared.get(b"q", lambda: CachedAnswer("b", 5)) == "b"


def test_an_answer_of_this_moment_is_not_kept() -> None:
    shared = answers(Clock())
    assert shared.get(b"q", lambda: CachedAnswer("a", 0)) == "a"
    assert shared.get(b"q", lambda: CachedAnswer("b", 0)) == "b"


def test_a_flood_on_one_shelf_pushes_nothing_off_another() -> None:
    shared = answers(Clock(), most=3)
    shared.get(b"good", lambda: CachedAnswer("good", 5, "users"))
    for number in range(50):
        shared.get(b"bad %d" % number, lambda: CachedAnswer("bad", 5, "refusals"))
    assert shared.get(b"good", never) == "good"
    assert shared.get(b"bad 49", never) == "bad"
    assert shared.get(b"bad 46", lambda: CachedAnswer("asked again", 5)) == "asked again"


def test_what_was_looked_at_last_stays_longest() -> None:
    shared = answers(Clock(), most=2)
    for name in (b"a", b"b", b"a", b"c"):
        shared.get(name, lambda: CachedAnswer("first", 5))
    assert shared.get(b"a", never) == "first"
    assert shared.get(b"b", lambda: CachedAnswer("asked again", 5)) == "asked again"


def test_many_who_want_to_know_the_same_ask_once() -> None:
    shared, together, asked = answers(Clock()), threading.Barrier(8), []

    def ask() -> CachedAnswer[str]:
        asked.append(1)
        together.wait(5)  # the others are about to ask, or wait already
        return CachedAnswer("a", 5)

    def want(first: bool) -> str:
        if not first:
            together.wait(5)
        return shared.get(b"q", ask)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(want, [True] + [False] * 7)) == ["a"] * 8
    assert len(asked) == 1


def test_who_waits_for_another_s_answer_waits_only_so_long() -> None:
    shared, begun, end = answers(Clock(), patience_s=0.02), threading.Event(), threading.Event()

    def ask() -> CachedAnswer[str]:
        begun.set()
        end.wait(5)
        return CachedAnswer("a", 5)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(shared.get, b"q", ask)
        assert begun.wait(5)
        assert shared.get(b"q", never) == "too late"
        end.set()
        assert first.result(5) == "a"
    assert shared.get(b"q", never) == "a"


def test_a_question_that_failed_may_be_asked_again() -> None:
    shared = answers(Clock())
    with pytest.raises(AssertionError):
        shared.get(b"q", never)
    assert shared.get(b"q", lambda: CachedAnswer("a", 5)) == "a"


def test_questions_are_not_kept() -> None:
    shared = answers(Clock())
    shared.get(b"a-secret-question", lambda: CachedAnswer("a", 5))
    assert "a-secret-question" not in str(vars(shared))
