"""Intake: stored once, and nothing stored where it cannot be stored whole."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from proxy.domain.callbacks import Receipt, Recipient
from proxy.domain.offline_messages import offline_message
from proxy.domain.times import to_ms
from proxy.errors import StoreFull
from proxy.store.connection import Store
from proxy.store.keys import Layout
from proxy.store.queue.inbox import RedisInbox
from proxy.store.records import dump_offline_message, load_offline_message
from tests.store.samples import DAY, LAYOUT, NOON, callback, for_inbox, raw


def mark_places(store: Store, app_id: str, callback_id: str) -> list[tuple[str, bytes]]:
    names, field = store.layout.marks_of_callback(app_id, callback_id, to_ms(NOON), 1)
    return [(name, field) for name in names]


def inbox(store: Store, cap: int = 100) -> RedisInbox:
    return RedisInbox(store, dedupe_ttl=DAY, cap=cap)


def test_a_callback_is_stored_with_all_that_plan_needs(store: Store, app_id: str) -> None:
    one = callback(app_id)
    assert inbox(store).accept(*for_inbox(one, NOON)) == Receipt(duplicate=False)
    ((_, fields),) = store.call(lambda it: it.xrange(LAYOUT.callbacks(app_id, 0)))
    assert load_offline_message(fields[b"r"]) == offline_message(one, NOON)


def test_the_same_callback_from_many_threads_at_once_is_stored_once(store: Store, app_id: str) -> None:
    target, one = inbox(store), callback(app_id)
    with ThreadPoolExecutor(8) as threads:
        receipts = list(threads.map(lambda _: target.accept(*for_inbox(one, NOON)), range(64)))
    assert sorted(receipt.duplicate for receipt in receipts) == [False] + [True] * 63
    assert raw(store, "XLEN", LAYOUT.callbacks(app_id, 0)) == 1


def test_the_order_of_recipients_and_resources_makes_no_other_callback(store: Store, app_id: str) -> None:
    ben, cai = Recipient("ben", ("r1", "r2")), Recipient("cai")
    assert not inbox(store).accept(*for_inbox(callback(app_id, [ben, cai]), NOON)).duplicate
    assert inbox(store).accept(*for_inbox(callback(app_id, [cai, Recipient("ben", ("r2", "r1"))]), NOON)).duplicate


def test_the_same_message_with_one_more_resource_is_another_callback(store: Store, app_id: str) -> None:
    assert not inbox(store).accept(*for_inbox(callback(app_id, [Recipient("ben", ("r1",))]), NOON)).duplicate
    assert not inbox(store).accept(*for_inbox(callback(app_id, [Recipient("ben", ("r1", "r2"))]), NOON)).duplicate
    assert raw(store, "XLEN", LAYOUT.callbacks(app_id, 0)) == 2


def test_a_full_stream_takes_nothing_and_leaves_no_mark(store: Store, app_id: str) -> None:
    one, two = callback(app_id, sequence="1"), callback(app_id, sequence="2")
    small = inbox(store, cap=1)
    small.accept(*for_inbox(one, NOON))
    with pytest.raises(StoreFull):
        small.accept(*for_inbox(two, NOON))
    assert small.accept(*for_inbox(one, NOON)).duplicate  # what is stored stays known
    assert raw(store, "XLEN", LAYOUT.callbacks(app_id, 0)) == 1
    assert [raw(store, "HEXISTS", *it) for it in mark_places(store, app_id, two.callback_id)] == [0]
    store.call(lambda it: it.xtrim(LAYOUT.callbacks(app_id, 0), maxlen=0))
    assert not small.accept(*for_inbox(two, NOON)).duplicate  # MIMC's repeat, once there is room


def test_a_mark_lives_as_long_as_it_is_told(store: Store, app_id: str) -> None:
    one = callback(app_id)
    RedisInbox(store, dedupe_ttl=timedelta(minutes=10), cap=10).accept(*for_inbox(one, NOON))
    ((bucket, _),) = mark_places(store, app_id, one.callback_id)
    assert raw(store, "PTTL", bucket) > 590_000
    store.know_layout(Layout(1))  # as an earlier program has it
    RedisInbox(store, dedupe_ttl=timedelta(minutes=10), cap=10).accept(*for_inbox(one, NOON))
    assert 590_000 < raw(store, "PTTL", LAYOUT.seen(app_id, one.callback_id)) <= 600_000


def test_records_that_were_made_before_are_stored_together_in_their_order(store: Store, app_id: str) -> None:
    ones = [callback(app_id, sequence=str(number)) for number in (1, 2, 1, 3, 4)]
    records = [(app_id, one.callback_id, dump_offline_message(offline_message(one, NOON))) for one in ones]
    receipts = inbox(store, cap=3).put_all(records)
    assert receipts == [Receipt(False), Receipt(False), Receipt(True), Receipt(False), None]
    stored = store.call(lambda it: it.xrange(LAYOUT.callbacks(app_id, 0)))
    assert [load_offline_message(fields[b"r"]).sequence for _, fields in stored] == ["1", "2", "3"]
    assert inbox(store).put_all(records[3:]) == [Receipt(True), Receipt(False)]


def test_records_are_stored_by_a_server_that_forgot_the_script(store: Store, app_id: str) -> None:
    raw(store, "SCRIPT", "FLUSH")
    one, two = callback(app_id, sequence="1"), callback(app_id, sequence="2")
    records = [(app_id, it.callback_id, dump_offline_message(offline_message(it, NOON))) for it in (one, two)]
    assert inbox(store).put_all(records) == [Receipt(False), Receipt(False)]
