"""Backlogs, ages, pauses and dead letters as the store has them, for /metrics."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from proxy.domain.lanes import Lane, PauseKind
from proxy.domain.monitoring import Metric
from proxy.domain.times import to_ms
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.devices.removed import removal_metrics
from proxy.store.queue.lane_states import PAUSE_FIELDS, read_pause
from proxy.store.server.identity import loss_metric


class RedisMetrics:
    """Implements ports.StoreMetrics."""

    def __init__(self, store: Store, lanes: Sequence[Lane], now: Callable[[], datetime]) -> None:
        self._store = store
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
            rows.append(Metric("app_proxy_dead_letters", "Dead letters kept", by_app, next(answers)))
        for lane in self._lanes:
            by_lane = {"app": lane.app, "channel": lane.channel}
            rows += _stream("app_proxy_jobs", "Jobs in the lane", by_lane, self._age(answers))
            rows.append(Metric("app_proxy_jobs_retrying", "Jobs that wait for another try", by_lane, next(answers)))
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
        pipe = redis.pipeline(transaction=False)
        for app_id in self._app_ids:
            pipe.xlen(keys.callbacks(app_id))
            pipe.xrange(keys.callbacks(app_id), count=1)
            pipe.xlen(keys.dead_letters(app_id))
        for lane in self._lanes:
            pipe.xlen(keys.jobs(lane))
            pipe.xrange(keys.jobs(lane), count=1)
            pipe.zcard(keys.retries(lane))
            pipe.hmget(keys.pause(lane), *PAUSE_FIELDS)
        found: list[Any] = pipe.execute()
        return found

    def _age(self, answers: Any) -> tuple[int, float]:
        """Length, and seconds since the oldest entry was appended: its id begins with the store's clock, in ms."""
        length, oldest = next(answers), next(answers)
        if not oldest:
            return length, 0.0
        appended_ms = int(oldest[0][0].split(b"-")[0])
        return length, max(0.0, (to_ms(self._now()) - appended_ms) / 1000)


def _stream(name: str, text: str, labels: dict[str, str], length_and_age: tuple[int, float]) -> list[Metric]:
    length, age_s = length_and_age
    return [
        Metric(f"{name}_waiting", text, labels, length),
        Metric(f"{name}_oldest_seconds", "Age of the oldest waiting entry", labels, age_s),
    ]
