"""Entries of a source: it has a stream in each shard, and an entry's id names its shard behind the stream's own."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from proxy.domain.lanes import Lane, Source
from proxy.domain.settlements import Entry
from proxy.store.keys import Layout

T = TypeVar("T")
_FIELDS_OF_WAITING = (b"lanes", b"tries")


def lane_name(lane: Lane) -> str:
    """A lane of an app by its section and channel, as the messages that wait for it name it."""
    return f"{lane.app}:{lane.channel}"


def stream_of(layout: Layout, source: Source, shard: int) -> str:
    return layout.jobs(source, shard) if isinstance(source, Lane) else layout.callbacks(source.app_id, shard)


def id_of(shard: int, own: bytes) -> bytes:
    return b"%b/%d" % (own, shard)


def shard_of(entry_id: bytes) -> int:
    return int(entry_id.partition(b"/")[2])


def own_id(entry_id: bytes) -> bytes:
    """The stream's."""
    return entry_id.partition(b"/")[0]


def came_at(entry: Entry) -> bytes:
    """The milliseconds that its id begins with."""
    return entry.id.partition(b"-")[0]


def by_shard(items: Iterable[T], id_in: Callable[[T], bytes]) -> Iterable[tuple[int, list[T]]]:
    found: dict[int, list[T]] = {}
    for item in items:
        found.setdefault(shard_of(id_in(item)), []).append(item)
    return found.items()


def entry_of(shard: int, own: bytes, fields: Sequence[bytes], deliveries: int = 1) -> Entry:
    """`fields`: names and values in turn; the record comes first."""
    id_ = id_of(shard, own)
    if len(fields) == 2:
        return Entry(id_, fields[1], deliveries)
    found = dict(zip(fields[2::2], fields[3::2], strict=True))
    lanes, tries = (found.get(name, b"") for name in _FIELDS_OF_WAITING)
    return Entry(id_, fields[1], deliveries, frozenset(lanes.decode().split()), int(tries or 0))
