"""Backlogs, ages, pauses and dead letters as the store has them, for /metrics."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from proxy.domain.lanes import Lane, PauseKind
from proxy.domain.monitoring import Metric
from proxy.domain.times import to_ms
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.devices.removed import removal_metrics
from proxy.store.queue.lane_states import PAUSE_FIELDS, read_pause
from proxy.store.scripts import Command, ask_now
from proxy.store.server.identity import loss_metric


class RedisMetrics:
    """Implements ports.StoreMetrics."""

    def __init__(
        self, store: Store, lanes: Sequence[Lane], now: Callable[[], datetime], webhooks: Iterable[Lane] = ()
    ) -> None:
        self._store, self._all = store, [*lanes, *webhooks]
        self._lanes = lanes
        self._app_ids = sorted({lane.app_id for lane in lanes})
        self._now = now

    def read(self) -> list[Metric]:
        """Raises StoreUnavailable."""
        answers = iter(self._store.call(self._ask))
        rows: list[Metric] = []
        for app_id in self._app_ids:
            by_app = {"app_id": app_id}
            rows += _stream("app_proxy_callbacks", "Callbacks not yet planned", by_app, self._age(answers))
            rows.append(Metric("app_proxy_dead_letters", "Dead letters kept", by_app, sum(self._of_shards(answers))))
        for lane in self._all:
            by_lane = {"app": lane.app, "channel": lane.channel}
            rows += _stream("app_proxy_jobs", "Jobs in the lane", by_lane, self._age(answers))
            rows.append(
                Metric(
                    "app_proxy_jobs_retrying", "Jobs that wait for another try", by_lane, sum(self._of_shards(answers))
                )
            )
            pause = read_pause(next(answers))
            rows.append(Metric("app_proxy_lane_paused", "1 while the lane is paused", by_lane, int(pause is not None)))
            for kind in PauseKind:
                is_paused = pause is not None and pause.kind is kind
                by_kind = {**by_lane, "kind": kind}
                rows.append(
                    Metric("app_proxy_lane_paused_by_kind", "1 while it is paused for that reason", by_kind, is_paused)
                )
        rows += self._store.call(partial(removal_metrics, lanes=self._lanes, now=self._now()))
        return [*rows, self._store.call(loss_metric)]

    def _ask(self, redis: Any) -> list[Any]:
        asked, layout = list[Command](), self._store.layout
        for app_id in self._app_ids:
            callbacks = [layout.callbacks(app_id, shard) for shard in layout.all_shards]
            asked += [("XLEN", name) for name in callbacks]
            asked += [("XRANGE", name, "-", "+", "COUNT", 1) for name in callbacks]
            asked += [("XLEN", layout.dead_letters(app_id, shard)) for shard in layout.all_shards]
        for lane in self._all:
            jobs = [layout.jobs(lane, shard) for shard in layout.all_shards]
            asked += [("XLEN", name) for name in jobs]
            asked += [("XRANGE", name, "-", "+", "COUNT", 1) for name in jobs]
            asked += [("ZCARD", layout.retries(lane, shard)) for shard in layout.all_shards]
            asked.append(("HMGET", keys.pause(lane), *PAUSE_FIELDS))
        return ask_now(redis, asked)

    def _of_shards(self, answers: Iterator[Any]) -> list[Any]:
        return list(islice(answers, len(self._store.layout.all_shards)))

    def _age(self, answers: Iterator[Any]) -> tuple[int, float]:
        """Length, and seconds since the oldest entry was appended: its id begins with the store's clock, in ms."""
        length, firsts = sum(self._of_shards(answers)), self._of_shards(answers)
        appended_ms = min((int(it[0][0].partition(b"-")[0]) for it in firsts if it), default=None)
        if appended_ms is None:
            return length, 0.0
        return length, max(0.0, (to_ms(self._now()) - appended_ms) / 1000)


def _stream(name: str, text: str, labels: dict[str, str], length_and_age: tuple[int, float]) -> list[Metric]:
    length, age_s = length_and_age
    return [
        Metric(f"{name}_waiting", text, labels, length),
        Metric(f"{name}_oldest_seconds", "Age of the oldest waiting entry", labels, age_s),
    ]
