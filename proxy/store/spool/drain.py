"""What was kept on the disk, into the store: in order, each file by one process alone.

A record is marked in its file once the store has it, and the file goes when all of its records are marked. A process
that is killed between the two hands a record in again: the store knows it by its mark. New callbacks go straight to
the store meanwhile; which of two messages is the later one is told by themselves, not by the order of the stream.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from pathlib import Path

from proxy.errors import StoreFull, StoreUnavailable
from proxy.store.inbox import RedisInbox
from proxy.store.records import UnreadableRecord, load_undelivered
from proxy.store.spool.file import Adopted, Sync, adopted, on_disk, sync_folder
from proxy.store.spool.folder import ASIDE, Spool
from proxy.store.spool.format import CutOff, Damage, Record, walk


@dataclass(frozen=True)
class Drained:
    """What became of one file. `left` wait on: the store is away again, or a stream is full.

    `unreadable` and `too_old` were put aside, which is done at the file's end. `cut_off`: its writer was killed within
    an append, which nobody was answered 200 for.
    """

    file: str
    accepted: int
    duplicates: int
    left: int
    unreadable: int
    too_old: int
    cut_off: bool


class Drain:
    """`oldest` is the age at which the store may have forgotten a mark: what is older could be shown twice."""

    def __init__(
        self, spool: Spool, inbox: RedisInbox, oldest: timedelta, now: Callable[[], datetime], sync: Sync = on_disk
    ) -> None:
        self._spool = spool
        self._inbox = inbox
        self._oldest = oldest
        self._now = now
        self._sync = sync

    def run(self) -> Iterator[Drained]:
        """Hand in what waits, file by file, until the store is away again. Raises OSError where the disk fails."""
        self._spool.let_go()
        store = _Round(self._inbox, self._now() - self._oldest)
        for path in self._spool.files():
            with adopted(path) as file:
                drained = self._empty(file, store) if file else None
            if drained:
                yield drained
            if store.is_away:
                return

    def _empty(self, file: Adopted, store: "_Round") -> Drained:
        data = file.read()
        fates, aside, cut_off = Counter[_Fate](), list[bytes](), False
        for item in walk(data):
            match item:
                case CutOff():
                    cut_off = True
                case Damage(start, end):
                    fates[_Fate.UNREADABLE] += 1
                    aside.append(data[start:end])
                case Record(start, end, done=False):
                    fate = store.take(item)
                    fates[fate] += 1
                    if fate in _ASIDE:
                        aside.append(data[start:end])
                    elif fate is not _Fate.LEFT:
                        file.mark_done(item)
        through = not fates[_Fate.LEFT]
        if through:
            self._remove(file.path, b"".join(aside))
        return Drained(
            file=file.path.name,
            accepted=fates[_Fate.ACCEPTED],
            duplicates=fates[_Fate.DUPLICATE],
            left=fates[_Fate.LEFT],
            unreadable=fates[_Fate.UNREADABLE] if through else 0,
            too_old=fates[_Fate.TOO_OLD] if through else 0,
            cut_off=through and cut_off,
        )

    def _remove(self, path: Path, aside: bytes) -> None:
        """The file goes; what was put aside is on the disk before. Done again after a kill, it comes to the same."""
        if aside:
            draft = path.with_suffix(".draft")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(aside)
                file.flush()
                self._sync(file.fileno())
            draft.replace(path.with_suffix(ASIDE))
            sync_folder(path.parent, self._sync)
        path.unlink()
        sync_folder(path.parent, self._sync)


class _Fate(Enum):
    """Of one record."""

    ACCEPTED = auto()
    DUPLICATE = auto()
    LEFT = auto()
    UNREADABLE = auto()
    TOO_OLD = auto()


_ASIDE = (_Fate.UNREADABLE, _Fate.TOO_OLD)


class _Round:
    """The store, asked until it is away; one app's full stream is not asked again, and keeps up no other app."""

    def __init__(self, inbox: RedisInbox, oldest: datetime) -> None:
        self.is_away = False
        self._full: set[str] = set()
        self._inbox = inbox
        self._oldest = oldest

    def take(self, record: Record) -> _Fate:
        try:
            message = load_undelivered(record.body)
        except UnreadableRecord:
            return _Fate.UNREADABLE
        if message.accepted_at < self._oldest:
            return _Fate.TOO_OLD
        if self.is_away or message.app_id in self._full:
            return _Fate.LEFT
        try:
            receipt = self._inbox.put(message.app_id, record.callback_id, record.body)
        except StoreFull:
            self._full.add(message.app_id)
        except StoreUnavailable:
            self.is_away = True
        else:
            return _Fate.DUPLICATE if receipt.duplicate else _Fate.ACCEPTED
        return _Fate.LEFT
