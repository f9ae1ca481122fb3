"""What this worker has counted, for the figures that the console shows: read from its metrics, so that no job pays."""

from collections import Counter
from datetime import datetime

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.samples import Sample

from proxy import metrics
from proxy.domain.figures import MESSAGES, seconds_within, settled
from proxy.store.server.figures import FiguresKeeper


class CountedFigures:
    """Adds to the store's figures what was counted since the last time."""

    def __init__(self, keeper: FiguresKeeper) -> None:
        self._keeper = keeper
        self._kept = counted()

    async def keep(self, now: datetime) -> None:
        """Raises RedisError; what the store did not take is added the next time. Where only its answer was lost, that
        is counted twice: these are figures for the eye.
        """
        so_far = counted()
        if more := so_far - self._kept:
            await self._keeper.add(more, now)
        self._kept = so_far


def counted() -> Counter[str]:
    """Since the start of this process; by the names of proxy.domain.figures."""
    sums = Counter[str]()
    for sample in _samples(metrics.messages_planned_total, "_total"):
        sums[MESSAGES] += int(sample.value)
    for sample in _samples(metrics.settled_total, "_total"):
        its = sample.labels
        sums[settled(its["app"], its["channel"], its["outcome"])] += int(sample.value)
    below = 0
    for sample in _samples(metrics.alert_seconds, "_bucket"):  # each with those before it, the lowest first
        sums[seconds_within(float(sample.labels["le"]))] = int(sample.value) - below
        below = int(sample.value)
    return sums


def _samples(metric: MetricWrapperBase, suffix: str) -> list[Sample]:
    return [sample for family in metric.collect() for sample in family.samples if sample.name.endswith(suffix)]
