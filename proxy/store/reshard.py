"""From one number of shards to another, offline and key by key; whoever ends it, the same call goes on with it.

    begin -> copy what lies elsewhere, then delete it there -> look once more -> write down the new number

A key is written at its new place before it is deleted at the old one, and to write it twice changes nothing: so what is
still at its old place is what is left to do, and no other cursor is needed. Streams are the exception: an entry would
come twice. Beside each new one lies which entry of each source came last, written in the same step.

Where a key goes its name says, but for what is of many accounts. A job goes to its account's shard. A mark says nothing
of its shard: shards are powers of two, so that with fewer of them all marks of a shard go to one, and with more each is
copied to every one in which it may be looked for. The copies go with their generation, as marks do. Those in keys of
their own, of an earlier program, become marks in buckets.

An entry of the history is of many accounts: its notes are divided among their shards. Counters begin anew; devices are
counted when next needed.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from heapq import merge
from itertools import islice
from typing import Any

from redis.exceptions import ResponseError

from proxy.domain.jobs import Job
from proxy.domain.times import MS, to_ms
from proxy.errors import StoreUnavailable
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.history_records import RECORDS, bucket_of, divided, entry_of, unfiled
from proxy.store.keys import Layout, Place
from proxy.store.marks import Marks, field_of_callback, field_of_target
from proxy.store.records import UnreadableRecord, load_dead_letter, load_job
from proxy.store.replicas import TOO_FEW, Waits
from proxy.store.scripts import Argument, Command, ask_now, script

_PAGE = 200  # keys, or entries of a stream
_FIELDS_AT_ONCE = 500
_WAIT_S = 5.0
_LATE_PLAN_MS = 3_600_000  # a message may be planned so long after it was accepted
_WORKS_FOR = timedelta(seconds=30)  # whoever has said something within that time may be at work
_NEW_NOTES = "history:new"
_FOLD_ID = 8  # bytes that a bucket has of the message which names a fold, see plan_chunk.lua

_STRINGS = frozenset({"preferences", "present", "badge-due", "unknown", "rest", "shown", "flying", "sent", "words"})
_ZSETS = frozenset({"said"})
_STREAMS = frozenset({"callbacks", "jobs", "dead", "history"})
_WAITING = frozenset({"waiting", "retries"})
_DROPPED = frozenset({"writes", "devices"})
_MARKS = frozenset({"seen", "planned", "marks"})
_INDEXES = frozenset({"forgotten", "held", "reserved"})  # of an appId; they name removed records
_NAMES_KEYS: Mapping[str, frozenset[bytes]] = {  # and in which fields; none: in all
    "account": frozenset(),
    "leftover": frozenset(),
    "token": frozenset({b"others"}),
    "aside": frozenset({b"registration", b"others"}),
    "aside-of": frozenset(),
}

Pairs = Sequence[bytes]  # names and values in turn


@dataclass(frozen=True)
class Moves:
    """What is under way in a store: from so many shards to so many, and how marks are kept then."""

    before: int
    shards: int
    marks: Marks

    @classmethod
    def read(cls, said: bytes) -> "Moves":
        before, shards, marks = said.decode().split(" ", 2)
        return cls(int(before), int(shards), Marks.read(marks))

    def __str__(self) -> str:
        return f"{self.before} {self.shards} {self.marks}"


@dataclass(frozen=True)
class Moved:
    """`broken`: keys that are not of their type, and were left where they are."""

    before: int
    shards: int
    keys: int
    entries: int
    broken: tuple[str, ...] = ()


def working(store: Store, now: datetime) -> list[str]:
    """Workers that said something just now."""
    recently = to_ms(now - _WORKS_FOR)
    (found,) = store.call(partial(ask_now, commands=[("ZRANGEBYSCORE", keys.workers(), recently, "+inf")]))
    return [instance.decode() for instance in found]


def shards_of(store: Store) -> int:
    """0: none, of an earlier version, or of one that is empty."""
    (found,) = store.call(partial(ask_now, commands=[("HGET", keys.identity(), "shards")]))
    return int(found or 0)


def under_way(store: Store) -> Moves | None:
    (said,) = store.call(partial(ask_now, commands=[("HGET", keys.identity(), "moves")]))
    return Moves.read(said) if said else None


def begin(store: Store, shards: int) -> Moves:
    """From now on every other process takes the store for one that is away. What is under way comes first."""
    shards_before, marks = store.call(partial(ask_now, commands=[("HMGET", keys.identity(), "shards", "marks")]))[0]
    known = Marks.read(marks.decode()) if marks else Marks.new(shards)
    wanted = Moves(int(shards_before or 0), shards, replace(known, from_ms=0))  # in buckets, all of them
    asked: list[Argument] = [shards_before or "", str(wanted)]
    return Moves.read(store.call(lambda redis: script("begin_moving").run(redis, [keys.identity()], asked)))


class Resharding:
    """What is under way, carried out. Raises StoreUnavailable; then the same goes on with what is left.

    `replicas`: so many have what was written at the new place before it is deleted at the old one.
    """

    def __init__(self, store: Store, moves: Moves, dedupe_ttl: timedelta, now: datetime, replicas: int = 0) -> None:
        self._store, self._moves, self._replicas = store, moves, replicas
        self._ttl_ms, self._now_ms = dedupe_ttl // MS, to_ms(now)
        self._before, self._after = Layout(moves.before, moves.marks), Layout(moves.shards, moves.marks)
        self._keys, self._entries, self._broken = 0, 0, list[str]()

    def run(self) -> Moved:
        moves, streams = self._moves, list[str]()
        if moves.before != moves.shards:
            before = -1
            while self._sweep(streams) and self._keys > before:  # what was written meanwhile is found by another look
                before = self._keys
                self._append(streams)
                streams = []
        for names in self._pages():
            self._call([("DEL", name) for name in names if self._is_cursor(name)])
        ended: list[Argument] = [str(moves), moves.shards, str(moves.marks)]
        self._store.call(lambda redis: script("end_moving").run(redis, [keys.identity()], ended))
        return Moved(moves.before, moves.shards, self._keys, self._entries, tuple(sorted(set(self._broken))))

    def _is_cursor(self, name: str) -> bool:
        place = self._after.place(name)
        return place is not None and place.kind == "moved"

    def _sweep(self, streams: list[str]) -> int:
        """One look at every key. Returns how many are not where they belong; `streams` are to be appended."""
        found, self._broken = 0, []
        for names in self._pages():
            old = {name: place for name in names if (place := self._before.place(name))}
            its_streams = [name for name, place in old.items() if place.kind in _STREAMS]
            streams += its_streams
            found += len(old)
            self._move({name: place for name, place in old.items() if place.kind not in _STREAMS | _WAITING})
            for name, place in old.items():
                if place.kind in _WAITING:
                    self._move_waiting(name, place)
            self._rename_in([name for name in names if _kind_of_app(name) in _INDEXES])
            guards = [name for name in names if _kind_of_app(name) == "brake"]
            self._call([("HDEL", name, "recounted", "counted") for name in guards])
        return found

    def _pages(self) -> Iterator[list[str]]:
        count = self._store.call(lambda redis: len(redis.servers()))
        for number in range(count):
            cursor = 0
            while True:
                scan = partial(_scan, number=number, cursor=cursor)
                cursor, names = self._store.call(scan)
                yield list(dict.fromkeys(name.decode("utf-8", "surrogateescape") for name in names))
                if cursor == 0:
                    break

    def _call(self, commands: Sequence[Command]) -> list[Any]:
        return self._store.call(partial(ask_now, commands=commands)) if commands else []

    # keys

    def _move(self, old: Mapping[str, Place]) -> None:
        reads = [command for name, place in old.items() for command in (self._reading(name, place), ("PTTL", name))]
        answers = self._store.call(partial(ask_now, commands=reads, strictly=False)) if reads else []
        writes, done = list[Command](), list[str]()
        for (name, place), value, ttl_ms in zip(old.items(), answers[::2], answers[1::2], strict=True):
            if isinstance(value, ResponseError):
                self._broken.append(name)
                continue
            if place.kind == "dead-words" and value:  # as long as its letter is to be moved
                continue
            done.append(name)
            if ttl_ms != _GONE and value:
                has_no_end = ttl_ms < 0 and place.kind in _MARKS
                writes += self._written(place, value, self._ttl_ms if has_no_end else ttl_ms)
        self._confirmed(writes)
        self._call([("UNLINK", name) for name in done])
        self._keys += len(done)

    def _reading(self, name: str, place: Place) -> Command:
        kind = place.kind
        if kind == "dead-words":
            return ("EXISTS", self._before.dead_letters(place.app_id, place.shard))
        if kind in _DROPPED or kind == "seen":
            return ("EXISTS", name)
        if kind in _STRINGS:
            return ("GET", name)
        if kind in _ZSETS:
            return ("ZRANGE", name, 0, -1, "WITHSCORES")
        return ("HGETALL", name)

    def _confirmed(self, writes: Sequence[Command]) -> None:
        """Returns once the replicas have it: it is about to be deleted elsewhere, on another node or a new master."""
        if not writes:
            return
        counters = [self._after.moved("0", shard, "replicas") for shard in self._after.all_shards]
        waits = Waits(counters, self._replicas, _WAIT_S, self._store.is_cluster)
        answers = self._store.call(partial(ask_now, commands=writes, then=waits.commands))
        if waits.faults(answers[len(writes) :]):
            raise StoreUnavailable(TOO_FEW, self._store.at)

    def _written(self, place: Place, value: Any, ttl_ms: int) -> list[Command]:
        """At the new place or places."""
        kind = place.kind
        if kind in _DROPPED or kind == "dead-words":
            return []
        if kind == "marks":
            return [
                it for shard in self._candidates(place.shard) for it in self._merged(shard, place.rest, value, ttl_ms)
            ]
        if kind == "seen":
            return self._of_seen(place, ttl_ms)
        if kind == "planned":
            return self._of_planned(place, value, ttl_ms)
        shards = self._candidates(place.shard) if kind == "words" else [self._shard_by_name(place)]
        names = [self._after.name_at(place._replace(shard=shard)) for shard in shards]
        return [it for name in names for it in _copied(name, kind, self._renamed(place, value), ttl_ms)]

    def _candidates(self, shard: int) -> Sequence[int]:
        """Where what was in this shard may be looked for."""
        before, after = max(self._moves.before, 1), self._moves.shards
        return range(shard, after, before) if after > before else [shard & (after - 1)]

    def _shard_by_name(self, place: Place) -> int:
        parts = place.rest.split(":")
        return self._after.shard_of_digest(parts[1] if place.kind == "fold" else parts[-1])

    def _renamed(self, place: Place, value: Any) -> Any:
        """Values name keys, too."""
        its_fields = _NAMES_KEYS.get(place.kind)
        if its_fields is None:
            return value
        return [
            it
            for name, its in zip(value[::2], value[1::2], strict=True)
            for it in (name, self._with_new_names(its, name) if name in its_fields or not its_fields else its)
        ]

    def _with_new_names(self, value: bytes, field: bytes) -> bytes:
        """A key in each line; or in the first one alone, with a record behind it."""
        lines = value.split(b"\n") if field == b"others" else value.split(b"\n", 1)
        return b"\n".join(map(self._new_name, lines))

    def _new_name(self, line: bytes) -> bytes:
        place = self._before.place(line.decode("utf-8", "surrogateescape"))
        if place is None:
            return line
        return self._after.name_at(place._replace(shard=self._shard_by_name(place))).encode("utf-8", "surrogateescape")

    def _rename_in(self, indexes: Sequence[str]) -> None:
        """Of removed devices: the members are keys."""
        answers = self._call([("ZRANGE", name, 0, -1, "WITHSCORES") for name in indexes])
        commands = list[Command]()
        for name, answer in zip(indexes, answers, strict=True):
            for member, score in zip(answer[::2], answer[1::2], strict=True):
                if (new := self._new_name(member)) != member:
                    commands += [("ZADD", name, score, new), ("ZREM", name, member)]
        for start in range(0, len(commands), 2 * _PAGE):
            self._call(commands[start : start + 2 * _PAGE])

    # marks

    def _merged(self, shard: int, rest: str, fields: Pairs, ttl_ms: int) -> Iterator[Command]:
        name, merging = self._after.name_at(Place("", shard, rest)), script("merge_marks")
        for start in range(0, len(fields), 2 * _FIELDS_AT_ONCE):
            yield merging.call([name], [max(ttl_ms, 1), *fields[start : start + 2 * _FIELDS_AT_ONCE]])

    def _bucket(self, of: bytes, at_ms: int) -> str:
        return self._moves.marks.places(of, at_ms, 0, "")[0]

    def _of_seen(self, place: Place, ttl_ms: int) -> list[Command]:
        callback_id = place.rest.partition(":")[2]
        of = self._moves.marks.digest(place.app_id, callback_id)
        rest = self._bucket(of, self._now_ms + ttl_ms - self._ttl_ms)
        shard = self._after.shard_of_callback(callback_id)
        return list(self._merged(shard, rest, [field_of_callback(of), b"1"], ttl_ms))

    def _of_planned(self, place: Place, fields: Pairs, ttl_ms: int) -> list[Command]:
        """When the message was accepted is known but for how late it was planned."""
        of = self._moves.marks.digest(place.app_id, place.rest.partition(":")[2])
        planned_ms = self._now_ms + ttl_ms - self._ttl_ms
        marks, late = list[bytes](), list[bytes]()
        for target, value in zip(fields[::2], fields[1::2], strict=True):
            name = field_of_target(of, target)
            marks += [name, _in_bucket(value)]
            if value[:1] == b"w":
                late += [name, value[1:]]
        found = list[Command]()
        for rest in dict.fromkeys(self._bucket(of, at_ms) for at_ms in (planned_ms, planned_ms - _LATE_PLAN_MS)):
            for shard in self._candidates(place.shard):
                found += self._merged(shard, rest, marks, ttl_ms)
                found += self._merged(shard, f"{rest}:late", late, ttl_ms) if late else ()
        return found

    # what waits

    def _move_waiting(self, name: str, place: Place) -> None:
        while True:
            asked: list[Command] = [("ZRANGE", name, 0, _PAGE - 1, "WITHSCORES")]
            (found,) = self._store.call(partial(ask_now, commands=asked, strictly=False))
            if isinstance(found, ResponseError):
                self._broken.append(name)
                return
            if not found:
                self._keys += 1
                return
            moved = list[Command]()
            for member, due in zip(found[::2], found[1::2], strict=True):
                shard = self._shard_of_record(place, member)
                moved.append(("ZADD", self._after.name_at(place._replace(shard=shard)), due, member))
            self._confirmed(moved)
            self._call([("ZREM", name, *found[::2])])
            self._entries += len(moved)

    def _shard_of_record(self, place: Place, record: bytes, kind: str = "") -> int:
        """A job's is its account's. Others may be in any of those that share the former's load."""
        candidates = self._candidates(place.shard)
        job = _job_in(place.kind, kind, record)
        if job is not None:
            return self._after.shard_of_account(job.account)
        return candidates[zlib.crc32(record) % len(candidates)]

    def _append(self, streams: Sequence[str]) -> None:
        """Streams of the same kind from all shards, by time. An earlier version's notes are in other buckets now."""
        together: dict[tuple[str, str], list[Place]] = {}
        for name in dict.fromkeys(streams):
            if place := self._before.place(name):
                is_filed_anew = place.kind == "history" and place.rest != _NEW_NOTES and not self._moves.before
                together.setdefault((place.app_id, place.kind if is_filed_anew else place.rest), []).append(place)
        for sources in together.values():
            try:
                entries = merge(*map(self._entries_of, sorted(sources)), key=lambda it: _moment(it[1]))
                while page := list(islice(entries, _PAGE)):
                    self._append_page(page)
            except _BrokenError:
                self._broken += [self._before.name_at(it) for it in sources]
                continue
            self._call([("UNLINK", self._before.name_at(it)) for it in sources])
            self._keys += len(sources)

    def _entries_of(self, place: Place) -> Iterator[tuple[Place, bytes, Pairs]]:
        name, first = self._before.name_at(place), "-"
        while True:
            asked: list[Command] = [("XRANGE", name, first, "+", "COUNT", _PAGE)]
            (answer,) = self._store.call(partial(ask_now, commands=asked, strictly=False))
            if isinstance(answer, ResponseError):
                raise _BrokenError
            for id_, fields in answer:
                yield place, id_, fields
            if len(answer) < _PAGE:
                return
            first = f"({answer[-1][0].decode()}"

    def _append_page(self, page: Sequence[tuple[Place, bytes, Pairs]]) -> None:
        kind = page[0][0].kind
        words = self._words_of(page) if kind == "dead" else [(b"", 0)] * len(page)
        targets: dict[Place, list[Argument]] = {}
        for (place, id_, fields), (text, ttl_ms) in zip(page, words, strict=True):
            for target, its in self._parts(place, fields):
                source = f"{place.shard}" if target.rest == place.rest else f"{place.shard} {place.rest}"
                targets.setdefault(target, []).extend([source, id_, text, ttl_ms, len(its), *its])
        commands = list[Command]()
        for place, args in targets.items():
            cursors = self._after.moved(place.app_id, place.shard, place.rest)
            prefix = self._after.dead_words_prefix(place.app_id, place.shard) if kind == "dead" else ""
            commands.append(script("append_moved").call([self._after.name_at(place), cursors], [prefix, *args]))
        self._confirmed(commands)
        self._entries += len(page)

    def _parts(self, place: Place, fields: Pairs) -> Iterator[tuple[Place, Pairs]]:
        """Where an entry belongs, and with which fields; one of the history may belong in several places."""
        if place.kind == "history":
            yield from self._parts_of_history(place, fields)
            return
        named = dict(zip(fields[::2], fields[1::2], strict=True))
        letter = named.get(b"kind", b"").decode("utf-8", "replace")
        yield place._replace(shard=self._shard_of_record(place, named.get(b"r", b""), letter)), fields

    def _parts_of_history(self, place: Place, fields: Pairs) -> Iterator[tuple[Place, Pairs]]:
        candidates = self._candidates(place.shard)
        if self._moves.before and len(candidates) == 1:
            yield place._replace(shard=candidates[0]), fields
            return
        is_new = place.rest == _NEW_NOTES

        def place_of(account: str) -> Place:
            shard = self._after.shard_of_account(account)
            return place._replace(shard=shard, rest=place.rest if is_new else f"history:{bucket_of(account):02x}")

        with suppress(UnreadableRecord):
            for target, records in divided(unfiled(*fields[:2]), place_of).items():
                yield target, (RECORDS, records) if is_new else entry_of(records)

    def _words_of(self, page: Sequence[tuple[Place, bytes, Pairs]]) -> list[tuple[bytes, int]]:
        names = [self._before.dead_words(place.app_id, id_.decode(), place.shard) for place, id_, _ in page]
        answers = self._call([command for name in names for command in (("GET", name), ("PTTL", name))])
        return [
            (text or b"", ttl_ms if ttl_ms > 0 else self._ttl_ms)
            for text, ttl_ms in zip(answers[::2], answers[1::2], strict=True)
        ]


class _BrokenError(Exception):
    """A key is not of its type."""


_GONE = -2


def _scan(redis: Any, number: int, cursor: int) -> tuple[int, list[bytes]]:
    server = redis.servers()[number]
    next_cursor, names = server.scan(cursor, match="proxy:*", count=_PAGE)
    return int(next_cursor), names


def _kind_of_app(name: str) -> str:
    """Of a key that is of an appId, in no shard."""
    return name.partition("}:")[2].partition(":")[0]


def _copied(name: str, kind: str, value: Any, ttl_ms: int) -> list[Command]:
    life: list[Command] = [("PEXPIRE", name, ttl_ms)] if ttl_ms > 0 else []
    if kind in _STRINGS:
        return [("SET", name, value, "PX", ttl_ms) if ttl_ms > 0 else ("SET", name, value)]
    if kind in _ZSETS:
        pairs = zip(value[::2], value[1::2], strict=True)
        return [("ZADD", name, *(it for member, score in pairs for it in (score, member))), *life]
    return [("HSET", name, *value), *life]


def _in_bucket(value: bytes) -> bytes:
    """As a bucket has it what a key of its own says: see marks.lua and plan_chunk.lua."""
    if value[:1] == b"w":
        return b"w"
    place, _, first = value.partition(b" ")
    return place + b" " + first[:_FOLD_ID] if value[:1] == b"f" else value


def _job_in(kind: str, letter: str, record: bytes) -> Job | None:
    if kind == "dead":
        found = load_dead_letter(letter, record)
        return found if isinstance(found, Job) else None
    if kind not in {"jobs", "retries"}:
        return None
    try:
        return load_job(record)
    except UnreadableRecord:
        return None


def _moment(id_: bytes) -> tuple[int, int]:
    ms, _, number = id_.partition(b"-")
    return int(ms), int(number)
