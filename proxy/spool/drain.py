"""What was kept on the disk, into the store: in order, each file by one process alone.

A record is marked in its file once the store has it, and the file goes when all of its records are marked. A process
that is killed before it has marked what the store has hands it in again: the store knows it by its own mark. New
callbacks go straight to the store meanwhile; the messages themselves say which of two is the later one, not the
order of the stream.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from pathlib import Path

from proxy.domain.callbacks import Receipt
from proxy.errors import StoreUnavailable
from proxy.files import Sync, on_disk, replace_file, sync_folder
from proxy.spool.file import Adopted, adopted
from proxy.spool.folder import REJECTED_SUFFIX, Spool
from proxy.spool.format import CutOff, Damage, Record, walk
from proxy.store.queue.inbox import RedisInbox
from proxy.store.records import UnreadableRecord, dump_offline_message, has_own_time, load_offline_message
from proxy.store.spooled_copies import carried_over

_BATCH, _BATCH_BYTES = 64, 256 << 10  # with fsync on each call of its own: 550/s on a busy machine


@dataclass(frozen=True)
class Drained:
    """What became of one file. `left` wait on: the store, or a node of it, is away again, or a stream is full.

    `unreadable` and `too_old` were rejected, which is done at the file's end. `cut_off`: its writer was killed within
    an append, so that MIMC was never answered 200 for it.
    """

    file: str
    accepted: int
    duplicates: int
    left: int
    unreadable: int
    too_old: int
    cut_off: bool


class Drain:
    """`oldest` is the age at which a dedupe mark may have ended: what is older could be shown twice.

    `offset` is the store's time less this machine's, by which messages are dated anew that were accepted before it was
    known.
    """

    def __init__(
        self,
        spool: Spool,
        inbox: RedisInbox,
        oldest: timedelta,
        now: Callable[[], datetime],
        offset: Callable[[], timedelta],
        sync: Sync = on_disk,
    ) -> None:
        self._spool = spool
        self._inbox = inbox
        self._oldest = oldest
        self._now = now
        self._offset = offset
        self._sync = sync

    def run(self) -> Iterator[Drained]:
        """Hand in what waits, file by file, until the store is away again.

        Raises OSError at the end where the disk failed: a file that cannot be read holds up no other.
        """
        self._spool.let_go()
        store, failed = _Round(self._inbox, self._now() - self._oldest, self._offset()), list[OSError]()
        for path in self._spool.files():
            try:
                with adopted(path) as file:
                    drained = self._empty(file, store) if file else None
            except OSError as error:
                failed.append(error)
                continue
            if drained:
                yield drained
            if store.is_away:
                break
        if failed:
            raise failed[0]

    def _empty(self, file: Adopted, store: "_Round") -> Drained:
        data = file.read()
        items = [store.classify(item) for item in walk(data)]
        rejected = [item for item in items if isinstance(item, _Rejected)]
        fates = Counter[_Fate]()
        for some in _batches([item for item in items if isinstance(item, _Ready)]):
            for one, fate in zip(some, store.take(some), strict=True):
                fates[fate] += 1
                if fate is not _Fate.LEFT:
                    file.mark_done(one.record)
        left = fates[_Fate.LEFT]
        if not left:
            self._remove(file.path, b"".join(data[item.start : item.end] for item in rejected))
        too_old = sum(item.is_old for item in rejected)
        return Drained(
            file=file.path.name,
            accepted=fates[_Fate.ACCEPTED],
            duplicates=fates[_Fate.DUPLICATE],
            left=left,
            unreadable=0 if left else len(rejected) - too_old,
            too_old=0 if left else too_old,
            cut_off=not left and any(isinstance(item, CutOff) for item in items),
        )

    def _remove(self, path: Path, rejected: bytes) -> None:
        """The file goes; what was rejected is on the disk before. Repeating it after a kill changes nothing."""
        if rejected:
            replace_file(path.with_suffix(REJECTED_SUFFIX), rejected, self._sync)
        path.unlink()
        sync_folder(path.parent, self._sync)


class _Fate(Enum):
    """Of a record that the store was asked to take."""

    ACCEPTED = auto()
    DUPLICATE = auto()
    LEFT = auto()


@dataclass(frozen=True)
class _Ready:
    """`body` is what the store is to take."""

    app_id: str
    record: Record
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class _Rejected:
    """Bytes of the file that will never be handed in: they are unreadable, or too old."""

    start: int
    end: int
    is_old: bool


class _Round:
    """The store, asked until it is away; one app's full stream is not asked again, and holds up no other app.

    Nor does a node of a cluster that is away hold up what lies elsewhere: its records are left for the next round.
    """

    def __init__(self, inbox: RedisInbox, oldest: datetime, offset: timedelta) -> None:
        self.is_away = False
        self._full: set[str] = set()
        self._inbox = inbox
        self._oldest = oldest
        self._offset = offset

    def classify(self, item: Record | Damage | CutOff) -> _Ready | _Rejected | CutOff | None:
        """None: it is done."""
        match item:
            case CutOff():
                return item
            case Damage(start, end):
                return _Rejected(start, end, is_old=False)
            case Record(done=True):
                return None
            case Record(start, end) as record:
                try:
                    message = load_offline_message(record.body)
                except UnreadableRecord:
                    return _Rejected(start, end, is_old=False)
                body = record.body
                if has_own_time(body):
                    message = replace(message, accepted_at=message.accepted_at + self._offset)
                    body = carried_over(record.body, dump_offline_message(message))
                is_old = message.accepted_at < self._oldest
                return _Rejected(start, end, is_old=True) if is_old else _Ready(message.app_id, record, body)

    def take(self, batch: Sequence[_Ready]) -> list[_Fate]:
        asked = [] if self.is_away else [one for one in batch if one.app_id not in self._full]
        if not asked:
            return [_Fate.LEFT] * len(batch)
        try:
            receipts = self._inbox.put_all([(one.app_id, one.record.callback_id, one.body) for one in asked])
        except StoreUnavailable:
            self.is_away = True
            return [_Fate.LEFT] * len(batch)
        self._full |= {one.app_id for one, receipt in zip(asked, receipts, strict=True) if receipt is None}
        fates = {one.record.start: _fate(receipt) for one, receipt in zip(asked, receipts, strict=True)}
        return [fates.get(one.record.start, _Fate.LEFT) for one in batch]


def _fate(receipt: Receipt | StoreUnavailable | None) -> _Fate:
    if receipt is None or isinstance(receipt, StoreUnavailable):
        return _Fate.LEFT
    return _Fate.DUPLICATE if receipt.duplicate else _Fate.ACCEPTED


def _batches(ready: Sequence[_Ready]) -> Iterator[Sequence[_Ready]]:
    """Small enough to end well within one call's time limit, and to hold up no other caller of the store."""
    batch, size = list[_Ready](), 0
    for one in ready:
        if batch and (len(batch) == _BATCH or size + len(one.body) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one.body)
    if batch:
        yield batch
