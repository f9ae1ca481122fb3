"""How far this clock is from others', and who hears of it."""

from datetime import datetime, timedelta
from email.utils import format_datetime

import pytest

from proxy.domain.transfers import FailureKind, Response, TransportFailure
from proxy.usecases.monitor_clock import PROVIDER_TOKEN, ClockedTokens, ClockMonitor, skew_of
from tests.store.samples import NOON

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(("date", "skew"), [
    ("Mon, 23 Nov 2026 12:00:00 GMT", 0 * SECOND),
    ("Mon, 23 Nov 2026 11:58:00 GMT", 120 * SECOND),
    ("Monday, 23-Nov-26 12:00:10 GMT", -10 * SECOND),
    ("Mon, 23 Nov 2026 12:00:00 -0000", 0 * SECOND),
    (None, None), ("", None), ("soon", None), ("Mon, 99 Nov 2026 12:00:00 GMT", None), ("\x00" * 50, None),
])  # fmt: skip
def test_a_date_is_a_skew_or_none(date: str | None, skew: timedelta | None) -> None:
    assert skew_of(date, NOON) == skew


class Bench:
    """A watch, and what it told."""

    def __init__(self) -> None:
        self.monotonic = 0.0
        self.measured: list[tuple[str, float]] = []
        self.wrong: list[tuple[str, float]] = []
        self.watch = ClockMonitor(
            lambda: NOON,
            lambda source, skew: self.measured.append((source, skew.total_seconds())),
            lambda source, skew: self.wrong.append((source, skew.total_seconds())),
            lambda: self.monotonic,
        )

    def hear(self, theirs: datetime | None, source: str = "mimc") -> None:
        headers = {"date": format_datetime(theirs, usegmt=True)} if theirs else {}
        self.watch.heard(source, Response(200, headers, b""))


def test_the_first_answer_with_a_date_is_measured_and_then_one_a_minute_of_each_source() -> None:
    bench = Bench()
    for _ in range(3):
        bench.hear(NOON)
        bench.hear(NOON, "apns")
    bench.monotonic = 59.9
    bench.hear(NOON)
    assert bench.measured == [("mimc", 0.0), ("apns", 0.0)]
    bench.monotonic = 60.0
    bench.hear(NOON - 3 * SECOND)
    assert bench.measured[2:] == [("mimc", 3.0)]
    assert bench.wrong == []


def test_answers_without_a_date_are_looked_at_once_a_second() -> None:
    class Headers(dict[str, str]):
        reads = 0

        def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
            self.reads += 1
            return super().get(name, default)

    bench, headers = Bench(), Headers()
    for moment in (0.0, 0.1, 0.9, 1.0, 1.1):
        bench.monotonic = moment
        bench.watch.heard("apns", Response(200, headers, b""))
    assert headers.reads == 2
    bench.monotonic = 2.0
    bench.hear(NOON, "apns")
    assert bench.measured == [("apns", 0.0)]


def test_an_offset_that_was_measured_elsewhere_counts_once_a_minute_as_well() -> None:
    bench = Bench()
    for _ in range(3):
        bench.watch.measured("store", 90 * SECOND)
    assert bench.measured == bench.wrong == [("store", 90.0)]
    assert bench.watch.take() == {"store": 90 * SECOND}


def test_a_wrong_clock_is_told_once_until_it_was_right_again() -> None:
    bench = Bench()
    for minute, off_s in enumerate((60, 61, -300, 0, 90)):
        bench.monotonic = minute * 60.0
        bench.hear(NOON - off_s * SECOND)
    assert bench.wrong == [("mimc", 61.0), ("mimc", 90.0)]


def test_what_was_measured_is_handed_on_once() -> None:
    bench = Bench()
    bench.hear(NOON + 90 * SECOND)
    bench.hear(NOON, "apns")
    assert bench.watch.take() == {"mimc": -90 * SECOND, "apns": 0 * SECOND}
    assert bench.watch.take() == {}


def test_a_fresh_provider_token_that_is_called_expired_shows_a_clock_that_is_an_hour_behind() -> None:
    bench = Bench()
    bench.watch.token_accepted()
    bench.watch.young_token_refused()
    bench.watch.young_token_refused()
    assert bench.wrong == [(PROVIDER_TOKEN, -3600.0)]
    bench.watch.token_accepted()
    bench.watch.token_accepted()
    assert [seconds for _, seconds in bench.measured] == [-3600.0, -3600.0, 0.0]


class Tokens:
    def __init__(self, answer: Response | TransportFailure) -> None:
        self.answer = answer

    def issue(self, app: str, account: str) -> Response | TransportFailure:  # noqa: ARG002  the port's
        return self.answer


def test_the_token_services_answers_are_passed_on_and_tell_the_time() -> None:
    bench, late = Bench(), format_datetime(NOON - 70 * SECOND, usegmt=True)
    for answer in (TransportFailure("timed out", FailureKind.TIMED_OUT), Response(500, {"date": late}, b"theirs")):
        assert ClockedTokens(Tokens(answer), bench.watch).issue("main", "ben") is answer
    assert bench.wrong == [("mimc", 70.0)]
