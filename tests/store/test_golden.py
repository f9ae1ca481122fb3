"""What the first version of a format wrote is read, and what this version writes can be read by that one.

The files of `tests/data/records` are never written anew: their README says how they were made.
"""

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.domain.alerts import Alert, AlertText
from proxy.domain.dead_letters import Cause
from proxy.domain.forwards import Forward
from proxy.domain.offline_messages import offline_message
from proxy.spool.format import Record, walk
from proxy.store import keys, records
from proxy.store.connection import Store
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.devices.removed import RedisRemovedDevices, guard_details
from proxy.store.devices.restoring import RestoreResult
from proxy.store.queue.dead_letters import RedisDeadLetters
from proxy.store.server.embedded import ensure_store, stop_store
from proxy.store.upgrade import BEGINS_AFTER, make_compact
from proxy.store.users.api_keys import RedisApiKeys
from proxy.store.users.preferences import RedisPreferences
from tests.store import golden
from tests.store.samples import NOON, SECOND

RECORDS = Path(__file__).parents[1] / "data/records"
# 1 is a format as it began, 1.1 the same with the optional members that it had got later
FORMATS = sorted(it.name for it in RECORDS.iterdir() if it.is_dir())
PRESENT = [name for name in FORMATS if name.partition(".")[0] == str(records.FORMAT)]
# which kinds of keys hold what each function writes
WRITERS = {
    "dump_offline_message": {"callbacks"},
    "dump_job": {"jobs", "retries", "dead"},
    "dump_dead_letter": {"dead", "dead-words"},
    "dump_forward": {"jobs", "retries"},  # of webhooks; its golden record is a file of its own
    "dump_device": {"account"},
    "dump_order": {"shown", "sent", "fold"},
    "dump_preferences": {"preferences"},
}


@pytest.fixture
def empty_store(tmp_path: Path) -> Iterator[str]:
    yield ensure_store(tmp_path / "s")
    stop_store(tmp_path / "s")


def laid(name: str) -> dict[str, list[dict[str, Any]]]:
    return golden.laid(RECORDS / name)


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_format_laid_down_is_read_as_it_was_meant(name: str, empty_store: str) -> None:
    golden.restore(empty_store, laid(name))
    assert golden.read(empty_store) == json.loads((RECORDS / f"{name}.json").read_text())


@pytest.mark.parametrize("name", PRESENT)
@pytest.mark.parametrize("since", [timedelta(0), -timedelta(hours=3)])
def test_a_store_that_was_made_compact_knows_what_it_was_filled_with(
    name: str, since: timedelta, empty_store: str
) -> None:
    """Marks of before the moment and of after it; what was seen and planned stays so."""
    golden.restore(empty_store, laid(name))
    make_compact(Store(empty_store), NOON + since - BEGINS_AFTER)
    assert Store(empty_store).layout.is_compact
    assert golden.read(empty_store) == json.loads((RECORDS / f"{name}.json").read_text())


def test_jobs_and_dead_letters_tell_what_was_tried_where_that_was_written(empty_store: str) -> None:
    golden.restore(empty_store, laid("1.1"))
    store, one = Store(empty_store), golden.jobs()
    ((waiting, _),) = store.call(
        lambda redis: redis.zrange(golden.LAYOUT.retries(golden.APNS, 0), 0, -1, withscores=True)
    )
    assert records.load_job(waiting) == one.waiting
    assert records.load_job(laid("1")["retries"][0]["value"][0][0].encode()).history == ()
    unread, ended = RedisDeadLetters(store, jobs_cap=9, callbacks_cap=9).newest_first(golden.APP_ID)
    assert (ended.cause, ended.subject) == (Cause.REJECTED, replace(one.ended, alert=without_words(one.ended.alert)))
    assert (unread.cause, unread.kind, unread.app) == (Cause.UNREADABLE, "record", "main")


def test_preferences_are_read_as_they_were_set(empty_store: str) -> None:
    golden.restore(empty_store, laid("1.1"))
    found, _ = RedisPreferences(Store(empty_store), golden.APP_IDS).read("main", "ben")
    assert found == golden.PREFERENCES


def test_api_keys_are_read_as_they_were_made(empty_store: str) -> None:
    golden.restore(empty_store, laid("1.1"))
    assert RedisApiKeys(Store(empty_store)).all_keys() == [golden.BOT]
    assert RedisApiKeys(Store(empty_store)).find(golden.BEARER, NOON) == golden.BOT


def without_words(alert: Alert) -> Alert:
    return replace(alert, text=AlertText("", ""))


def test_a_device_that_was_laid_aside_comes_back_and_the_brake_is_told(empty_store: str) -> None:
    golden.restore(empty_store, laid("1.1"))
    store = Store(empty_store)
    (it,) = RedisRemovedDevices(store, golden.APP_IDS).removed("main", NOON)
    assert (it.device, it.at) == (golden.FORGOTTEN, NOON + SECOND)
    assert RedisRemovedDevices(store, golden.APP_IDS).restore(it) is RestoreResult.RESTORED
    assert RedisDeviceRegistry(store, golden.APP_IDS).devices_of("main", "fay") == [golden.FORGOTTEN]
    told = store.call(lambda redis: guard_details(redis, [golden.APNS], NOON + SECOND))
    assert "2 of 3 dead" in told["devices of main/apns"]


@pytest.mark.parametrize("name", PRESENT)
def test_what_is_written_today_has_all_that_its_format_had_before(name: str, empty_store: str) -> None:
    golden.write(empty_store)
    today = golden.snapshot(empty_store)
    for kind, kept in laid(name).items():
        assert kind in today
        assert missing(kept, today[kind], kind) == []


def test_the_present_format_has_golden_records() -> None:
    """A new format: keep the old folders, let the program that first writes it lay one for it, and read them all."""
    assert str(records.FORMAT) in FORMATS
    assert PRESENT[-1] == FORMATS[-1]


def test_a_spool_file_is_read_and_written_as_it_was_at_first() -> None:
    kept = (RECORDS / "1.spool").read_bytes()
    found = list(walk(kept))
    assert [(it.callback_id, it.done) for it in found if isinstance(it, Record)] == [
        (golden.TO_A_GROUP.callback_id, False),
        (golden.TO_ONE.callback_id, True),
    ]
    assert [records.load_offline_message(it.body) for it in found if isinstance(it, Record)] == [
        offline_message(it, NOON) for it in (golden.TO_A_GROUP, golden.TO_ONE)
    ]
    assert len(found) == 2
    assert golden.spool_file() == kept


def test_a_callback_for_a_webhook_is_read_and_written_as_it_was_at_first() -> None:
    kept = (RECORDS / "1.webhook").read_bytes()
    body = '{"payload" : "你好", "sequence":12345678901234567890}\n'.encode()
    forward = Forward("main", "webhook-crm", "3f2a", "OFFLINE_MSG", NOON, body, 2, "http 500")
    assert records.load_forward(kept) == forward
    assert records.dump_forward(forward) == kept


def test_every_writer_of_records_and_every_kind_of_key_has_golden_records() -> None:
    """A new one: add it to tests/store/golden.py, lay all of it into a temporary folder, and take over the new file."""
    writers = {name for name in vars(records) if name.startswith("dump_")}
    assert writers == WRITERS.keys()
    kinds = set(re.findall(r"^    (?:~|proxy:\{.*?\}:)([a-z-]+)", inspect.getdoc(keys) or "", re.MULTILINE))
    # of a compact store, as buckets of marks; of one that is on its way to others; a plot's counts, which end in a day
    kinds -= {"words", "moved", "figures"}
    assert set.union(*WRITERS.values()) <= kinds
    # the history is binary, and has golden records of its own in test_history_records.py
    assert kinds == {"history"} | {kind for name in FORMATS for kind in laid(name)}


@pytest.mark.parametrize(
    ("today", "lacks"),
    [
        ({"v": 1, "at": 5}, []),
        ({"v": 1, "at": 5, "history": []}, []),
        ({"v": 1}, ["x.at: gone"]),
        ({"v": 1, "at": "5"}, ["x.at: '5' for 5"]),
        ({"v": 2, "at": 5}, ["x.v: 2 for 1"]),
        ({"v": 1, "at": True}, ["x.at: True for 5"]),
    ],
)
def test_a_member_may_be_added_and_none_may_go_or_change(today: Any, lacks: list[str]) -> None:
    assert missing(json.dumps({"v": 1, "at": 5}), json.dumps(today), "x") == lacks


def missing(kept: Any, today: Any, where: str) -> list[str]:
    """What of `kept` is not in `today`, or not the same there. Texts that are JSON are compared as what they say."""
    kept, today = _said(kept), _said(today)
    if type(kept) is not type(today):
        return [f"{where}: {today!r} for {kept!r}"]
    match kept:
        case dict():
            return [
                it
                for name, value in kept.items()
                for it in (
                    missing(value, today[name], f"{where}.{name}") if name in today else [f"{where}.{name}: gone"]
                )
            ]
        case list() if len(kept) == len(today):
            return [it for index, value in enumerate(kept) for it in missing(value, today[index], f"{where}.{index}")]
        case _:
            return [] if kept == today else [f"{where}: {today!r} for {kept!r}"]


def _said(value: Any) -> Any:
    """A registration is a key, a line's end and a record."""
    if not isinstance(value, str):
        return value
    key, _, record = value.rpartition("\n")
    if record.startswith("{"):
        return [key, json.loads(record)] if key else json.loads(record)
    return value
