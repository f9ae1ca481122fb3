"""A store that was moved to another number of shards says what it said before, whenever the command was killed."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from proxy.domain.forwards import Forward
from proxy.domain.history import Note, Reason
from proxy.domain.times import to_ms
from proxy.domain.webhooks import lane_of_webhook
from proxy.errors import StoreUnavailable
from proxy.store import history_records, keys
from proxy.store.connection import Store
from proxy.store.history_records import NotesOfMessage, entry_of, old_bucket_of, record_of
from proxy.store.keys import Layout
from proxy.store.marks import GENERATION_MS, Marks
from proxy.store.queue.history import RedisHistory
from proxy.store.records import dump_forward, load_forward
from proxy.store.reshard import Moved, Resharding, begin, shards_of
from proxy.store.scripts import ask_now
from proxy.store.server.embedded import ensure_store, stop_store
from proxy.store.server.identity import AsyncIdentityMonitor, IdentityMonitor, StoreIdentity
from tests.store import golden
from tests.store.samples import DAY, NOON, with_redis
from tests.store.test_golden import RECORDS, laid

T = TypeVar("T")
MARKS = Marks(GENERATION_MS, 64, b"k" * 16)


class Killed(Exception):
    """It ends here, as by SIGKILL."""


class MortalStore(Store):
    """Its process is killed after so many commands."""

    left = 1_000_000

    def call(self, do: Callable[[Any], T]) -> T:
        return super().call(lambda redis: do(_Mortal(redis, self)))


class _Mortal:
    def __init__(self, redis: Any, store: MortalStore) -> None:
        self._redis, self._store = redis, store

    def exchange(self, commands: Sequence[Any]) -> list[Any]:
        return [answer for command in commands for answer in self._one(command)]

    def servers(self) -> list[Any]:
        found: list[Any] = self._redis.servers()
        return found

    def _one(self, command: Any) -> list[Any]:
        self._store.left -= 1
        if self._store.left < 0:
            raise Killed
        answers: list[Any] = self._redis.exchange([command])
        return answers


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """One of everything, as an earlier version laid it."""
    url = ensure_store(tmp_path / "s")
    golden.restore(url, laid("1.1"))
    yield url
    stop_store(tmp_path / "s")


def reshard(store: Store, shards: int) -> Moved:
    return Resharding(store, begin(store, shards), DAY, NOON).run()


def contents(url: str) -> dict[str, Any]:
    """Every key that lies in a shard."""
    store, found = Store(url), dict[str, Any]()

    def value(redis: Any, name: bytes) -> Any:
        match redis.type(name).decode():
            case "stream":
                return redis.xrange(name)
            case "hash":
                return sorted(redis.hgetall(name).items())
            case "zset":
                return sorted(redis.zrange(name, 0, -1, withscores=True))
            case "set":
                return sorted(redis.smembers(name))
            case _:
                return redis.get(name)

    for name in store.call(lambda redis: list(redis.scan_iter())):
        found[name.decode()] = store.call(lambda redis, name=name: value(redis, name))  # type: ignore[misc]
    return found


def with_known_marks(url: str) -> None:
    Store(url).call(lambda redis: redis.hset(keys.identity(), "marks", str(MARKS)))


def test_from_no_shards_to_sixteen_and_to_four_everything_is_read_as_it_was(url: str) -> None:
    for shards in (16, 4):
        moved = reshard(Store(url), shards)
        assert (moved.shards, moved.broken) == (shards, ())
        assert Store(url).layout.shards == shards_of(Store(url)) == shards
    assert in_any_order(golden.read(url)) == in_any_order(json.loads((RECORDS / "1.1.json").read_text()))


def test_what_waits_for_a_webhook_is_moved_with_its_body_and_is_there_once(url: str) -> None:
    lane = lane_of_webhook(golden.APP_ID, "main", "crm")
    ones = [Forward("main", lane.channel, f"{number}", "NORMAL_MSG", NOON, b'{"n":1}\n') for number in range(20)]
    store = Store(url)
    for one in ones[:15]:
        store.call(lambda redis, one=one: redis.xadd(Layout(0).jobs(lane, 0), {"r": dump_forward(one)}))  # type: ignore[misc]
    later = {dump_forward(one): to_ms(NOON) for one in ones[15:]}
    store.call(lambda redis: redis.zadd(Layout(0).retries(lane, 0), later))
    for shards in (16, 4):
        assert reshard(Store(url), shards).broken == ()
    moved, layout = contents(url), Layout(4)
    waiting = [fields[b"r"] for shard in range(4) for _, fields in moved.get(layout.jobs(lane, shard), [])]
    retrying = [record for shard in range(4) for record, _ in moved.get(layout.retries(lane, shard), [])]
    assert sorted(map(load_forward, waiting), key=lambda it: int(it.id)) == ones[:15]
    assert sorted(map(load_forward, retrying), key=lambda it: int(it.id)) == ones[15:]


def with_history(url: str) -> None:
    """Notes of a message's readers, together, and of two of them each by itself; some filed, some not."""
    readers = [f"user-{number}" for number in range(80)]
    some = NotesOfMessage()
    some.add(note_of(it) for it in readers)
    (together,) = some.records().values()
    asked = [("XADD", Layout(0).history_new(golden.APP_ID, 0), f"{to_ms(NOON)}-7", history_records.RECORDS, together)]
    for moment, account in enumerate(readers):
        name = Layout(0).history(golden.APP_ID, old_bucket_of(account), 0)
        asked.append(("XADD", name, f"{to_ms(NOON) + moment}-0", *entry_of(record_of(note_of(account)))))
    Store(url).call(lambda redis: ask_now(redis, asked))


def note_of(account: str) -> Note:
    return Note("000000000000000a", "topic:t1", to_ms(NOON), 0, Reason.NO_DEVICE, account)


def test_each_note_of_the_history_is_moved_to_its_account(url: str) -> None:
    with_history(url)
    history = RedisHistory(Store(url), golden.APP_IDS)
    before = history.of_message("main", "000000000000000a", NOON)
    assert len(before) == 160
    for shards in (16, 256, 4):
        assert reshard(Store(url), shards).broken == ()
        history = RedisHistory(Store(url), golden.APP_IDS)
        assert sorted(history.of_message("main", "000000000000000a", NOON), key=repr) == sorted(before, key=repr)
        for one in before[::20]:
            found = history.of_account("main", one.note.account, NOON, 9)
            assert [(it.note, it.at) for it in found] == [
                (it.note, it.at) for it in before if it.note.account == one.note.account
            ]


def in_any_order(told: dict[str, Any]) -> dict[str, Any]:
    """What several shards hold of one millisecond has none."""
    return {name: sorted(it, key=repr) if isinstance(it, list) else it for name, it in told.items()}


@pytest.mark.parametrize(
    ("shards", "stride"),
    [((4, 1), 9), *(pytest.param(it, 1, marks=pytest.mark.trial) for it in ((16, 1), (1, 16)))],
)
def test_killed_after_any_command_it_ends_as_if_it_had_not_been(
    url: str, shards: tuple[int, int], stride: int, tmp_path: Path
) -> None:
    with_known_marks(url)
    with_history(url)
    other = ensure_store(tmp_path / "t")
    try:
        copy(url, other)
        for number in shards:
            reshard(Store(other), number)
            assert _killed_again_and_again(url, number, stride) > 5
            assert contents(url) == contents(other)
    finally:
        stop_store(tmp_path / "t")


def test_of_copies_of_a_mark_that_one_counts_which_was_looked_at_since(url: str) -> None:
    reshard(Store(url), 1)
    store, name = Store(url), "0123456789abcdef0123456789abcdef"
    ((mark, field),) = store.layout.mark_read(golden.APP_ID, name, 0, "target", to_ms(NOON))
    store.call(lambda redis: redis.hset(mark, field, "1"))
    reshard(store, 4)
    layout = Store(url).layout
    copies = [layout.mark_read(golden.APP_ID, name, shard, "target", to_ms(NOON))[0] for shard in range(4)]
    assert [store.call(lambda redis, it=it: redis.hget(*it)) for it in copies] == [b"1"] * 4  # type: ignore[misc]
    store.call(lambda redis: redis.hset(*copies[2], "s"))
    reshard(store, 1)
    assert store.call(lambda redis: redis.hget(mark, field)) == b"s"


def test_a_process_takes_the_store_for_one_that_is_away_until_all_is_moved(url: str) -> None:
    """A web goes on then. A worker holds what is of the former shards, and ends; what supervises it starts it anew."""
    web, moving, now = Store(url), Store(url), lambda: NOON
    monitor = IdentityMonitor(web, StoreIdentity(url), lambda _: None, now, iter(range(9)).__next__)
    assert monitor.look()
    assert web.layout == Layout(0)

    async def worker(redis: Any) -> None:
        its = AsyncIdentityMonitor(redis, StoreIdentity(url), lambda _: None)
        await its.look(NOON)
        moves = begin(moving, 16)
        with pytest.raises(StoreUnavailable, match="is being moved"):
            await its.look(NOON)
        assert monitor.look()
        with pytest.raises(StoreUnavailable, match="is being moved"):
            _ = web.layout
        Resharding(moving, moves, DAY, NOON).run()
        with pytest.raises(StoreUnavailable, match="has 16 shards now"):
            await its.look(NOON)
        assert redis.layout == Layout(0)

    with_redis(url, worker)
    assert monitor.look()
    assert web.layout.shards == 16


def _killed_again_and_again(url: str, shards: int, stride: int) -> int:
    """After one command, then after some more, and so on, until it ends."""
    deaths = 0
    while True:
        store = MortalStore(url)
        store.left = stride * deaths + 1
        try:
            reshard(store, shards)
        except Killed:
            deaths += 1
        else:
            return deaths


def copy(url: str, other: str) -> None:
    for name in contents(url):
        dump = Store(url).call(lambda redis, name=name: redis.dump(name))  # type: ignore[misc]
        Store(other).call(lambda redis, name=name, dump=dump: redis.restore(name, 0, dump))  # type: ignore[misc]
