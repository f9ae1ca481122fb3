"""What the first version of a format wrote is read, and what this version writes can be read by that one.

The files of `tests/data/records` are never written anew: their README says how they were made.
"""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.store import keys, records
from proxy.store.connection import Store
from proxy.store.devices import RedisDevices
from proxy.store.embedded import ensure_store, stop_store
from proxy.store.forgotten import RedisForgotten, Restoring, brakes_held
from tests.store import golden
from tests.store.samples import NOON, SECOND

RECORDS = Path(__file__).parents[1] / "data/records"
FORMATS = sorted(int(it.name) for it in RECORDS.iterdir() if it.is_dir())
# which kinds of keys hold what each function writes
WRITERS = {
    "dump_undelivered": {"callbacks"},
    "dump_job": {"jobs", "retries", "dead"},
    "dump_letter": {"dead", "dead-words"},
    "dump_device": {"account"},
    "dump_order": {"shown", "sent"},
}


@pytest.fixture
def empty_store(tmp_path: Path) -> Iterator[str]:
    yield ensure_store(tmp_path / "s")
    stop_store(tmp_path / "s")


def laid(format_: int) -> dict[str, list[dict[str, Any]]]:
    return golden.laid(RECORDS / str(format_))


@pytest.mark.parametrize("format_", FORMATS)
def test_what_a_format_laid_down_is_read_as_it_was_meant(format_: int, empty_store: str) -> None:
    golden.restore(empty_store, laid(format_))
    assert golden.read(empty_store) == json.loads((RECORDS / f"{format_}.json").read_text())


def test_a_device_that_was_laid_aside_comes_back_and_the_brake_is_told(empty_store: str) -> None:
    golden.restore(empty_store, laid(1))
    store = Store(empty_store)
    (it,) = RedisForgotten(store, golden.APP_IDS).forgotten("main", NOON)
    assert (it.device, it.at) == (golden.FORGOTTEN, NOON + SECOND)
    assert RedisForgotten(store, golden.APP_IDS).restore(it) is Restoring.RESTORED
    assert RedisDevices(store, golden.APP_IDS).devices_of("main", "fay") == [golden.FORGOTTEN]
    told = store.call(lambda redis: brakes_held(redis, [golden.APNS], NOON + SECOND))
    assert "2 of 3 dead" in told["devices of main/apns"]


def test_what_is_written_today_has_all_that_its_format_had_at_first(empty_store: str) -> None:
    golden.write(empty_store)
    today = golden.snapshot(empty_store)
    for kind, kept in laid(records.FORMAT).items():
        assert kind in today
        assert missing(kept, today[kind], kind) == []


def test_the_present_format_has_golden_records() -> None:
    """A new format: keep the old folder, let the program that first writes it lay one for the new, and read both."""
    assert max(FORMATS) == records.FORMAT


def test_every_writer_of_records_and_every_kind_of_key_has_golden_records() -> None:
    """A new one: add it to tests/store/golden.py, lay all of it into a temporary folder, and take over the new file."""
    writers = {name for name in vars(records) if name.startswith("dump_")}
    assert writers == WRITERS.keys()
    kinds = set(re.findall(r"^    proxy:\{.*?\}:([a-z-]+)", inspect.getdoc(keys) or "", re.MULTILINE))
    assert set.union(*WRITERS.values()) <= kinds
    assert kinds == {kind for format_ in FORMATS for kind in laid(format_)}


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
