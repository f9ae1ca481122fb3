"""When a lane is to stand because its provider is out of order, and how it goes on afterwards."""

import pytest

from proxy.domain.breaker import Breaker
from proxy.domain.lanes import ramped


def test_so_many_failures_in_a_row_of_different_jobs_open_it() -> None:
    breaker = Breaker(3)
    assert [breaker.failed(f"job-{n}") for n in range(4)] == [False, False, True, True]
    assert breaker.is_open


def test_any_other_answer_starts_the_count_anew() -> None:
    breaker = Breaker(3)
    for n in range(10):
        assert not breaker.failed(f"job-{n}")
        assert not breaker.failed(f"job-{n}-too")
        breaker.answered()
    assert not breaker.is_open


def test_one_job_that_fails_each_time_stops_no_others() -> None:
    breaker = Breaker(2)
    assert not any(breaker.failed("job-1") for _ in range(100))


def test_a_lane_that_stands_for_another_reason_counts_nothing_and_begins_at_nought_when_it_goes_on() -> None:
    breaker = Breaker(2)
    breaker.is_open = True
    assert breaker.failed("job-1")
    breaker.is_open = False
    assert not breaker.failed("job-2")
    assert breaker.failed("job-3")


@pytest.mark.parametrize(
    ("most", "since_s", "limit"),
    [(500, -1, 4), (500, 0, 4), (500, 0.5, 5), (500, 1, 8), (500, 3, 32), (500, 6.9, 477), (500, 7, 500),
     (500, 10**9, 500), (5000, 10.3, 5000), (1, 0, 1), (3, 0, 3)],
)  # fmt: skip
def test_a_lane_that_goes_on_begins_with_a_few_and_doubles_each_second(most: int, since_s: float, limit: int) -> None:
    assert ramped(most, since_s) == limit
