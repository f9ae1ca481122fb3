"""Sums of spans of time: how they add up, and what is read from them."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf

import pytest
from prometheus_client import CollectorRegistry, Histogram

from proxy.domain.decisions import Result
from proxy.domain.figures import BOUNDS, DAY, HOUR, MESSAGES, Figures, seconds_within, settled
from proxy.domain.lanes import Lane

NOON = datetime(2026, 11, 29, 12, 0, 30, tzinfo=UTC)
APNS, MIPUSH = Lane("77", "main", "apns"), Lane("77", "main", "mipush")


def outcomes(lane: Lane, **counts: int) -> dict[str, int]:
    return {settled(lane.app, lane.channel, Result[name.upper()]): count for name, count in counts.items()}


def test_a_ring_ends_with_the_span_that_runs() -> None:
    starts = HOUR.starts(NOON)
    assert len(starts) == 61
    assert datetime.fromtimestamp(starts[-1], UTC) == NOON.replace(second=0)
    assert starts[-1] - starts[0] == timedelta(hours=1).total_seconds()
    assert {later - earlier for earlier, later in pairwise(starts)} == {60}
    assert DAY.starts(NOON)[-1] - DAY.starts(NOON)[0] == timedelta(days=1).total_seconds()


def test_what_several_workers_and_spans_did_adds_up() -> None:
    one = Figures({MESSAGES: 2, **outcomes(APNS, accepted=3, retry=1), **outcomes(MIPUSH, accepted=5)})
    two = Figures({MESSAGES: 1, **outcomes(APNS, accepted=4, paused=2, dead_letter=3, device_gone=7)})
    both = Figures.of([one, two])
    assert both.messages == 3
    assert (both.accepted([APNS]), both.accepted([APNS, MIPUSH])) == (7, 12)
    assert both.failed([APNS]) == 6  # a device that is gone is no failure of a try
    assert Figures.of([]).messages == 0


@pytest.mark.parametrize(
    ("seconds", "share", "expected"),
    [
        ({}, 0.5, None),
        ({0.02: 10}, 0.5, 0.015),  # evenly between 10 and 20 ms
        ({0.005: 98, 1.0: 2}, 0.99, 0.75),
        ({0.005: 100}, 0.99, 0.00495),
        ({inf: 1}, 0.5, 86400.0),  # all that is known of it
    ],
)
def test_a_quantile_lies_within_its_bound(seconds: dict[float, int], share: float, expected: float | None) -> None:
    found = Figures({seconds_within(bound): count for bound, count in seconds.items()}).quantile(share)
    assert found == (expected if expected is None else pytest.approx(expected))


def test_the_bounds_are_named_as_prometheus_names_them() -> None:
    """Or the worker's counts would be read as those of other bounds."""
    metric = Histogram("seconds", "of the test", buckets=BOUNDS, registry=CollectorRegistry())
    named = [it.labels["le"] for family in metric.collect() for it in family.samples if it.name.endswith("_bucket")]
    assert [float(it) for it in named] == [*BOUNDS, inf]
