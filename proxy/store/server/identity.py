"""Has the store lost data? It may come back empty, or as it was some time ago.

An id in it, made once, shows an empty one: a process that knew another id knows what was lost. The counters of
writes.py show one that went back in time.

After a loss everything goes on by itself: streams and groups are made anew, what the workers still hold of before is
foreign to the store, and nothing that MIMC does not repeat is shown again. But what had been accepted is gone, and so
are registrations and blocked accounts: a log line and /readyz report them.

A process remembers the id while it lives, and in a `file` where it has one, so that also the loss between two starts
is seen. Where no process lived through it and there is no file, it cannot be known: the store looks like a new one.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from proxy.domain.callbacks import digest
from proxy.domain.monitoring import Metric
from proxy.domain.times import from_ms, to_ms
from proxy.errors import StoreUnavailable
from proxy.files import replace_file
from proxy.store import keys
from proxy.store.connection import Commands, Store
from proxy.store.first_contact import asked, layout_in, new_id
from proxy.store.scripts import Argument, script
from proxy.store.server.writes import CountedWrites

_TOLD_FOR = timedelta(days=1)
_LOOK_EVERY_S = 1.0
WHAT_WAS_LOST = (
    "the store came back empty: accepted work was lost, devices must register again, and accounts that were blocked by "
    "hand must be blocked again"
)


@dataclass(frozen=True)
class DataLoss:
    """The store lost data. `is_news`: no other process has reported it.

    `writes`: it went back in time by at least so many; None: it came back empty.
    """

    at: datetime
    is_news: bool
    writes: int | None = None

    @property
    def sentence(self) -> str:
        return WHAT_WAS_LOST if self.writes is None else _behind(self.writes)


def _behind(writes: int) -> str:
    return (
        f"the store went back in time and lost the last {writes} writes, or more: it was restored from an old backup, "
        "or a replica that lagged was promoted. Accepted messages may be lost, others may be shown again, and devices "
        "and blocks of that time are as they were before"
    )


class StoreIdentity:
    """The store's id as one process knows it. `url` names the store in the file: another one is no loss."""

    def __init__(
        self, url: str, file: Path | None = None, new_id: Callable[[], str] = new_id, shards: int | None = None
    ) -> None:
        """`shards`: of a store that is new."""
        self.shards = shards
        self._new_id = new_id
        self._store = digest("store", url)
        self._file = file
        self._known = self._remembered()
        self._marks: str | None = None

    @property
    def known(self) -> str:
        return self._known

    def asked(self, now: datetime) -> tuple[list[str], list[Argument]]:
        """Keys and arguments of know_store.lua."""
        return asked(self._known, self._new_id(), to_ms(now), self.shards, self._marks)

    def learn(self, answer: Sequence[Any]) -> DataLoss | None:
        """What the script answered; a Loss when the store is another than the one we knew."""
        id_, lost_at, is_news = answer[0].decode(), answer[1], answer[2] == 1
        before, self._known = self._known, id_
        self._marks = answer[4].decode()
        if before != id_:
            self._remember()
        return DataLoss(from_ms(int(lost_at)), is_news) if before not in ("", id_) and lost_at else None

    def _remembered(self) -> str:
        try:
            store, id_ = self._file.read_text(encoding="utf-8").split() if self._file else ("", "")
        except (OSError, ValueError):  # the first start, or not ours
            return ""
        return id_ if store == self._store else ""

    def _remember(self) -> None:
        """As well as it can: a full disk must stop nothing here."""
        if self._file is None:
            return
        with suppress(OSError):
            replace_file(self._file, f"{self._store} {self._known}\n".encode())


class IdentityMonitor:
    """Looks at the id now and then, for the threads of a web process. Each process calls `on_loss` once a loss."""

    def __init__(
        self,
        store: Store,
        identity: StoreIdentity,
        on_loss: Callable[[DataLoss], None],
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        writes: CountedWrites | None = None,
    ) -> None:
        self._store, self._identity, self._on_loss, self._now, self._clock = store, identity, on_loss, now, clock
        self._writes = writes or CountedWrites()
        self._next_look = float("-inf")
        self._unreported: DataLoss | None = None

    def look(self) -> bool:
        """At most once a second, else False; reports nothing about a store that is away, and never waits for it."""
        if self._clock() < self._next_look or self._store.is_away:
            return False
        self._next_look = self._clock() + _LOOK_EVERY_S
        now = self._now()
        names, args = self._identity.asked(now)
        with suppress(StoreUnavailable):
            _ = self._store.layout  # what it is like is looked at before it gets an identity
            answer = self._store.call(lambda redis: script("know_store").run(redis, names, args))
            loss = self._identity.learn(answer)
            self._learn_layout(answer)
            if loss:
                self._writes.reset()
            elif lost := self._writes.take_lost():
                report = _report_of(now, lost)
                is_news = self._store.call(lambda redis: script("report_lost_writes").run(redis, *report))
                loss = DataLoss(now, is_news == 1, lost)
            loss = loss or self._unreported
            if loss:
                self._unreported = replace(loss, is_news=False)  # should the store go away once more
                self._on_loss(loss)
                self._unreported = None
        return True

    def _learn_layout(self, answer: Sequence[Any]) -> None:
        """While the store is moved to other shards it is as if it were away; then it goes on in those."""
        before = self._store.layout
        try:
            layout = layout_in(answer, None)
        except StoreUnavailable:
            self._store.forget_layout()
            self._writes.reset()  # shards have counters of their own
            raise
        if layout.shards != before.shards:
            self._writes.reset()
        self._store.know_layout(layout)


class AsyncIdentityMonitor:
    """The same for a worker. Raises RedisError where the store is away, and StoreUnavailable where it has other shards
    than it had: what the worker holds is of the former, and so it begins anew."""

    def __init__(
        self,
        redis: Any,
        identity: StoreIdentity,
        on_loss: Callable[[DataLoss], None],
        writes: CountedWrites | None = None,
    ) -> None:
        self._redis, self._identity, self._on_loss = redis, identity, on_loss
        self._is_unknown = True
        self._writes = writes or CountedWrites()

    async def look(self, now: datetime) -> None:
        if self._is_unknown:
            await self._redis.learn_layout()
            self._is_unknown = False
        names, args = self._identity.asked(now)
        answer = await script("know_store").run_async(self._redis, names, args)
        layout = layout_in(answer, self._identity.shards)
        if layout.shards != self._redis.layout.shards and answer[0].decode() == self._identity.known:
            raise StoreUnavailable(f"the store has {layout.shards} shards now: this process has to begin anew")
        self._redis.layout = layout
        if loss := self._identity.learn(answer):
            self._writes.reset()
            self._on_loss(loss)
        elif lost := self._writes.take_lost():
            is_news = await script("report_lost_writes").run_async(self._redis, *_report_of(now, lost))
            self._on_loss(DataLoss(now, is_news == 1, lost))


def _report_of(now: datetime, lost: int) -> tuple[list[str], list[Argument]]:
    """Keys and arguments of report_lost_writes.lua."""
    return [keys.identity()], [to_ms(now), lost]


def loss_details(redis: Commands, now: datetime) -> dict[str, str]:
    """For a day after a loss: what was lost, for /readyz."""
    losses = {"lost": _loss(redis, "lost_at"), "behind": _loss(redis, "behind_at", "behind_by")}
    return {
        name: f"{loss.sentence} (at {loss.at:%Y-%m-%d %H:%M:%S} UTC)"
        for name, loss in losses.items()
        if loss and loss.at >= now - _TOLD_FOR
    }


def loss_metric(redis: Commands) -> Metric:
    losses = (_loss(redis, "lost_at"), _loss(redis, "behind_at", "behind_by"))
    help_ = "When the store was last found to have lost data; 0 for never"
    latest = max((loss.at.timestamp() for loss in losses if loss), default=0)
    return Metric("app_proxy_store_lost_timestamp_seconds", help_, {}, latest)


def _loss(redis: Commands, *fields: str) -> DataLoss | None:
    at, *writes = redis.hmget(keys.identity(), *fields)
    return DataLoss(from_ms(int(at)), False, *map(int, writes)) if at else None
