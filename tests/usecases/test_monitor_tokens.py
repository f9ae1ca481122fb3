"""When do failed token calls show a fault?"""

from datetime import UTC, datetime, timedelta

import pytest

from proxy.domain.monitoring import TokenFacts
from proxy.usecases.monitor_tokens import TokenMonitor

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
REFUSED = "MIMC's code 401"


class Seen:
    """A monitor at noon, and what it says; `kept` is what came to the store at once."""

    def __init__(self) -> None:
        self.now, self.events, self.kept = NOON, list[str](), list[TokenFacts]()
        self.monitor = TokenMonitor(
            lambda: self.now,
            lambda app, reason: self.events.append(f"{app}: {reason}"),
            lambda app: self.events.append(f"{app}: given"),
            lambda: self.kept.append(self.monitor.take()),
        )


@pytest.fixture
def seen() -> Seen:
    return Seen()


def test_a_first_call_that_fails_is_news_at_once_and_once(seen: Seen) -> None:
    for _ in range(5):
        seen.monitor.failed("main", REFUSED)
    assert seen.events == [f"main: {REFUSED}"]
    assert seen.kept == [TokenFacts(failed={"main": (NOON, REFUSED)})]
    assert seen.monitor.take() == TokenFacts(failed={"main": (NOON, REFUSED)})  # with the next look at the store


def test_of_an_app_that_gets_tokens_two_failures_are_an_accident_and_three_in_a_row_are_none(seen: Seen) -> None:
    seen.monitor.given("main")
    for reason in ("no answer in time", REFUSED):
        seen.monitor.failed("main", reason)
    seen.monitor.failed("other", REFUSED)
    assert seen.events == [f"other: {REFUSED}"]
    seen.monitor.given("main")
    for _ in range(3):
        seen.monitor.failed("main", REFUSED)
    seen.monitor.given("main")
    seen.monitor.given("main")
    assert seen.events == [f"other: {REFUSED}", f"main: {REFUSED}", "main: given"]
    assert len(seen.kept) == 3
    assert seen.kept[-1] == TokenFacts(given={"main": NOON})


def test_while_tokens_are_given_that_is_kept_every_20_seconds(seen: Seen) -> None:
    taken = []
    for _ in range(41):
        seen.monitor.given("main")
        taken.append(seen.monitor.take())
        seen.now += timedelta(seconds=1)
    assert [bool(facts) for facts in taken] == [second % 20 == 0 for second in range(41)]
    assert (seen.events, seen.kept) == ([], [])


def test_a_new_place_of_an_echo_is_kept_at_once(seen: Seen) -> None:
    for where in ("answer", "answer", "miUserSecurityKey"):
        seen.monitor.echoed("main", where)
    assert [list(facts.echoes) for facts in seen.kept] == [
        [("main", "answer")],
        [("main", "answer"), ("main", "miUserSecurityKey")],
    ]
