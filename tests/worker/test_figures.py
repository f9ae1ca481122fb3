"""What a worker adds to the figures of the console: what it counted since the last time, and nothing twice."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from redis.exceptions import ConnectionError as Away

from proxy import metrics
from proxy.domain.decisions import Result
from proxy.domain.figures import MESSAGES, Figures, seconds_within, settled
from proxy.store.server.figures import FiguresKeeper
from proxy.wiring.worker import build_worker
from proxy.worker.figures import CountedFigures
from tests.store.samples import NOON
from tests.web.world import settings


class Kept(FiguresKeeper):
    """Keeps what is added; while `is_away` nothing."""

    def __init__(self) -> None:
        super().__init__(None)
        self.added: list[Mapping[str, int]] = []
        self.is_away = False

    async def add(self, sums: Mapping[str, int], now: datetime) -> None:
        assert now == NOON
        if self.is_away:
            raise Away
        self.added.append(dict(sums))


def keep(figures: CountedFigures) -> None:
    asyncio.run(figures.keep(NOON))


def count_some(messages: int) -> None:
    metrics.messages_planned_total.labels("planned").inc(messages)
    metrics.settled_total.labels("figures", "apns", Result.ACCEPTED, "").inc(2)
    metrics.settled_total.labels("figures", "apns", Result.RETRY, "busy").inc()
    metrics.settled_total.labels("figures", "apns", Result.RETRY, "full").inc()
    for seconds in (0.004, 0.015, 0.017, 1e6):
        metrics.alert_seconds.observe(seconds)


SOME: dict[str, Any] = {
    settled("figures", "apns", Result.ACCEPTED): 2,
    settled("figures", "apns", Result.RETRY): 2,  # of whatever reason
    seconds_within(0.005): 1,
    seconds_within(0.02): 2,
    seconds_within(float("inf")): 1,
}


def test_what_was_counted_since_the_last_time_is_added() -> None:
    kept = Kept()
    count_some(9)  # before this worker's figures begin
    figures = CountedFigures(kept)
    keep(figures)
    assert kept.added == []  # an idle worker writes nothing
    count_some(3)
    keep(figures)
    keep(figures)
    assert kept.added == [{MESSAGES: 3, **SOME}]
    assert Figures(kept.added[0]).p50 == pytest.approx(0.015)


def test_what_the_store_did_not_take_is_added_the_next_time() -> None:
    kept = Kept()
    figures = CountedFigures(kept)
    kept.is_away = True
    count_some(3)
    with pytest.raises(Away):
        keep(figures)
    kept.is_away = False
    metrics.messages_planned_total.labels("planned").inc()
    keep(figures)
    assert kept.added == [{MESSAGES: 4, **SOME}]


@pytest.mark.parametrize("enabled", [True, False])
def test_without_the_console_nothing_is_kept(enabled: bool) -> None:
    async def scenario() -> bool:
        worker, _ = build_worker(settings(console={"enabled": enabled}))
        has_figures = worker.figures is not None
        await worker.close()
        return has_figures

    assert asyncio.run(scenario()) is enabled
