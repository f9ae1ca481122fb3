"""From the disk into a real store: everything once, in order, whatever the files look like."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from proxy.domain.callbacks import Callback, Receipt, Recipient
from proxy.domain.offline_messages import OfflineMessage, offline_message
from proxy.errors import StoreFull
from proxy.spool.drain import Drain, Drained
from proxy.spool.file import adopted
from proxy.spool.folder import Spool, Waiting
from proxy.spool.format import dump
from proxy.spool.inbox import SpoolingInbox
from proxy.store.connection import Store
from proxy.store.queue.inbox import RedisInbox
from proxy.store.records import load_offline_message
from tests.store.samples import DAY, LAYOUT, NOON, SECOND, callback, for_inbox

HOUR = timedelta(hours=1)
NOWHERE = "unix:///nonexistent/socket"


def spool(folder: Path) -> Spool:
    return Spool(folder, max_bytes=1 << 20, max_age=DAY)


def away(it: Spool) -> SpoolingInbox:
    """Intake without a store."""
    store = Store(NOWHERE)
    return SpoolingInbox(RedisInbox(store, DAY, 100), store, it, lambda: True)


def drain(it: Spool, store: Store, cap: int = 100, now: datetime = NOON) -> list[Drained]:
    return list(Drain(it, RedisInbox(store, DAY, cap), timedelta(hours=12), lambda: now, timedelta).run())


def stored(store: Store, app_id: str) -> list[OfflineMessage]:
    entries = store.call(lambda it: it.xrange(LAYOUT.callbacks(app_id, 0)))
    return [load_offline_message(fields[b"r"]) for _, fields in entries]


def callbacks(app_id: str, count: int) -> list[Callback]:
    return [callback(app_id, sequence=str(number)) for number in range(count)]


def numbers(drained: Sequence[Drained]) -> list[tuple[int, int, int]]:
    return [(it.accepted, it.duplicates, it.left) for it in drained]


def test_what_came_while_the_store_was_away_is_stored_in_order_with_its_own_time(
    store: Store, app_id: str, tmp_path: Path
) -> None:
    it, ones = spool(tmp_path), callbacks(app_id, 5)
    inbox = away(it)
    for number, one in enumerate(ones):
        assert inbox.accept(*for_inbox(one, NOON + number * SECOND)) == Receipt(duplicate=False, spooled=True)
    assert numbers(drain(it, store, now=NOON + 600 * SECOND)) == [(5, 0, 0)]
    assert stored(store, app_id) == [offline_message(one, NOON + n * SECOND) for n, one in enumerate(ones)]
    assert list(tmp_path.iterdir()) == []
    assert drain(it, store) == []


@pytest.mark.parametrize("ahead", [25 * HOUR, -25 * HOUR])
def test_what_a_machine_with_a_wrong_clock_kept_before_it_knew_is_dated_by_the_store(
    store: Store, app_id: str, tmp_path: Path, ahead: timedelta
) -> None:
    """Else it would be too old to be handed in, or live too long."""
    it, (one,) = spool(tmp_path), callbacks(app_id, 1)
    inbox = SpoolingInbox(RedisInbox(Store(NOWHERE), DAY, 100), Store(NOWHERE), it, knows_time=lambda: False)
    inbox.accept(*for_inbox(one, NOON + ahead))
    drained = Drain(it, RedisInbox(store, DAY, 100), 12 * HOUR, lambda: NOON, offset=lambda: -ahead).run()
    assert numbers(list(drained)) == [(1, 0, 0)]
    assert [kept.accepted_at for kept in stored(store, app_id)] == [NOON]


def test_an_intake_that_has_its_store_keeps_nothing(store: Store, app_id: str, tmp_path: Path) -> None:
    (one,) = callbacks(app_id, 1)
    inbox = SpoolingInbox(RedisInbox(store, DAY, 100), store, spool(tmp_path), lambda: True)
    assert [inbox.accept(*for_inbox(one, NOON)) for _ in range(2)] == [
        Receipt(duplicate=False),
        Receipt(duplicate=True),
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_full_stream_is_no_reason_to_spool(store: Store, app_id: str, tmp_path: Path) -> None:
    one, two = callbacks(app_id, 2)
    inbox = SpoolingInbox(RedisInbox(store, DAY, 1), store, spool(tmp_path), lambda: True)
    inbox.accept(*for_inbox(one, NOON))
    with pytest.raises(StoreFull):
        inbox.accept(*for_inbox(two, NOON))
    assert list(tmp_path.iterdir()) == []


def test_what_the_store_or_another_process_has_already_is_dropped(store: Store, app_id: str, tmp_path: Path) -> None:
    first, second, third = callbacks(app_id, 3)
    mine, others = spool(tmp_path), spool(tmp_path)
    RedisInbox(store, DAY, 100).accept(*for_inbox(first, NOON))  # carried out, but its answer was lost
    for one in (first, second, second):
        away(mine).accept(*for_inbox(one, NOON))
    for one in (second, third):  # MIMC's repeat found another process
        away(others).accept(*for_inbox(one, NOON + SECOND))
    others.let_go()
    assert numbers(drain(mine, store)) == [(1, 2, 0), (1, 1, 0)]
    assert stored(store, app_id) == [
        offline_message(first, NOON), offline_message(second, NOON), offline_message(third, NOON + SECOND)
    ]  # fmt: skip


def test_a_file_that_is_still_written_or_drained_is_left_to_who_does(store: Store, app_id: str, tmp_path: Path) -> None:
    mine, others = spool(tmp_path), spool(tmp_path)
    one, two = callbacks(app_id, 2)
    away(others).accept(*for_inbox(one, NOON))
    assert drain(mine, store) == []
    away(mine).accept(*for_inbox(two, NOON + SECOND))
    mine.let_go()
    with adopted(mine.files()[1]):
        assert drain(others, store)[0].accepted == 1
        assert len(mine.files()) == 1
    assert numbers(drain(others, store)) == [(1, 0, 0)]


def test_a_store_that_goes_away_again_is_not_asked_for_the_rest(app_id: str, tmp_path: Path) -> None:
    it = spool(tmp_path)
    for one in callbacks(app_id, 3):
        away(it).accept(*for_inbox(one, NOON))
    it.let_go()
    away(it).accept(*for_inbox(callback(app_id, sequence="9"), NOON))
    assert numbers(drain(it, Store(NOWHERE))) == [(0, 0, 3)]
    assert it.waiting().callbacks == 4


def test_one_app_s_full_stream_keeps_up_no_other_app_and_nothing_is_handed_in_again(
    store: Store, app_id: str, tmp_path: Path
) -> None:
    it, other = spool(tmp_path), f"{app_id}9"
    for one in (*callbacks(app_id, 3), *callbacks(other, 1)):
        away(it).accept(*for_inbox(one, NOON))
    assert numbers(drain(it, store, cap=1)) == [(2, 0, 2)]
    assert len(stored(store, other)) == 1
    assert it.waiting().callbacks == 2
    assert numbers(drain(it, store, cap=1)) == [(0, 0, 2)]
    assert numbers(drain(it, store)) == [(2, 0, 0)]
    assert [one.sequence for one in stored(store, app_id)] == ["0", "1", "2"]


def test_unreadable_records_are_rejected_and_the_rest_goes_on(store: Store, app_id: str, tmp_path: Path) -> None:
    it, (one, two, three) = spool(tmp_path), callbacks(app_id, 3)
    for some in (one, two, three):
        away(it).accept(*for_inbox(some, NOON))
    it.keep("0" * 32, b'{"v":99}', NOON)  # whole, but of no version that we know
    it.let_go()
    (path,) = it.files()
    data = bytearray(path.read_bytes())
    at = len(data) // 4 + 40
    data[at] ^= 1
    path.write_bytes(data)
    (drained,) = drain(it, store)
    assert (drained.accepted, drained.unreadable, drained.left) == (2, 2, 0)
    assert len(stored(store, app_id)) == 2
    (rejected,) = tmp_path.iterdir()
    assert rejected.name == path.with_suffix(".bad").name
    assert rejected.stat().st_mode & 0o777 == 0o600
    assert rejected.read_bytes().endswith(dump("0" * 32, b'{"v":99}'))
    assert it.waiting() == Waiting(0, 0, None, 1)


def test_what_is_older_than_its_mark_may_live_is_rejected(store: Store, app_id: str, tmp_path: Path) -> None:
    """It could have been stored before, shown, and forgotten: then it would be shown twice."""
    it, (old, young) = spool(tmp_path), callbacks(app_id, 2)
    away(it).accept(*for_inbox(old, NOON))
    away(it).accept(*for_inbox(young, NOON + SECOND))
    (drained,) = drain(it, store, now=NOON + timedelta(hours=12) + SECOND)
    assert (drained.accepted, drained.too_old) == (1, 1)
    assert [one.sequence for one in stored(store, app_id)] == ["1"]
    assert it.waiting().rejected_files == 1


def test_a_record_that_was_cut_off_is_said_and_the_others_are_stored(store: Store, app_id: str, tmp_path: Path) -> None:
    it = spool(tmp_path)
    for one in callbacks(app_id, 2):
        away(it).accept(*for_inbox(one, NOON))
    it.let_go()
    (path,) = it.files()
    path.write_bytes(path.read_bytes()[:-1])
    (drained,) = drain(it, store)
    assert (drained.accepted, drained.unreadable, drained.cut_off) == (1, 0, True)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_of_a_killed_process_goes(store: Store, tmp_path: Path) -> None:
    (tmp_path / "000001793534400.000001.host.1.abc.spool").touch()
    assert [it.accepted for it in drain(spool(tmp_path), store)] == [0]
    assert list(tmp_path.iterdir()) == []


def test_a_large_group_is_kept_whole(store: Store, app_id: str, tmp_path: Path) -> None:
    it = spool(tmp_path)
    members = [Recipient(f"member-{number}", ("r1", "r2")) for number in range(500)]
    away(it).accept(*for_inbox(callback(app_id, members), NOON))
    drain(it, store)
    assert len(stored(store, app_id)[0].recipients) == 500


def test_callbacks_that_come_while_others_are_handed_in_are_all_stored_once(
    store: Store, app_id: str, tmp_path: Path
) -> None:
    """Eight threads append, two processes drain: every file is let go, adopted and removed under their hands."""
    writers, ones = [spool(tmp_path), spool(tmp_path)], callbacks(app_id, 400)
    inboxes = [away(it) for it in writers]
    done = threading.Event()

    def hand_in(it: Spool) -> list[Drained]:
        found: list[Drained] = []
        while not done.is_set():
            found += drain(it, store, cap=1_000)
        return found

    def take(number: int) -> Receipt:
        return inboxes[number % 2].accept(*for_inbox(ones[number], NOON))

    with ThreadPoolExecutor(2) as drains, ThreadPoolExecutor(8) as threads:
        draining = [drains.submit(hand_in, it) for it in writers]
        try:
            assert all(receipt.spooled for receipt in threads.map(take, range(400)))
        finally:
            done.set()
        drained = [one for found in draining for one in found.result()]
    for it in writers:
        drained += drain(it, store, cap=1_000)
    assert sum(it.accepted for it in drained) == 400
    assert sum(it.duplicates + it.unreadable + it.too_old + it.cut_off for it in drained) == 0
    assert sorted(int(one.sequence) for one in stored(store, app_id)) == list(range(400))
    assert list(tmp_path.iterdir()) == []


def test_more_than_a_batch_is_stored_in_order(store: Store, app_id: str, tmp_path: Path) -> None:
    it = spool(tmp_path)
    inbox = away(it)
    for one in callbacks(app_id, 150):
        inbox.accept(*for_inbox(one, NOON))
    assert numbers(drain(it, store, cap=1_000)) == [(150, 0, 0)]
    assert [int(one.sequence) for one in stored(store, app_id)] == list(range(150))


def test_what_a_killed_drain_had_handed_in_without_a_mark_is_not_stored_again(
    store: Store, app_id: str, tmp_path: Path
) -> None:
    it = spool(tmp_path)
    for one in callbacks(app_id, 3):
        away(it).accept(*for_inbox(one, NOON))
    it.let_go()
    (path,) = it.files()
    before = path.read_bytes()
    drain(it, store)
    path.write_bytes(before)  # as after a power cut, which forgets marks and removal
    assert numbers(drain(it, store)) == [(0, 3, 0)]
    assert len(stored(store, app_id)) == 3


def test_a_record_that_is_marked_is_not_handed_in_again_though_the_store_came_back_empty(
    store: Store, app_id: str, tmp_path: Path
) -> None:
    it = spool(tmp_path)
    for one in callbacks(app_id, 3):
        away(it).accept(*for_inbox(one, NOON))
    assert numbers(drain(it, store, cap=2)) == [(2, 0, 1)]
    store.call(lambda redis: redis.delete(*redis.scan_iter(match=f"*:{app_id}:*", count=1000)))
    assert numbers(drain(it, store)) == [(1, 0, 0)]
    assert [one.sequence for one in stored(store, app_id)] == ["2"]


def test_a_file_that_cannot_be_read_keeps_up_no_other(store: Store, app_id: str, tmp_path: Path) -> None:
    it, (one,) = spool(tmp_path), callbacks(app_id, 1)
    (tmp_path / "000000000000001.000001.host.1.abc.spool").mkdir()  # as near to a broken disk as a test can come
    away(it).accept(*for_inbox(one, NOON))
    found = Drain(it, RedisInbox(store, DAY, 100), DAY, lambda: NOON, timedelta).run()
    assert next(found).accepted == 1
    with pytest.raises(IsADirectoryError):
        next(found)
    assert len(stored(store, app_id)) == 1
