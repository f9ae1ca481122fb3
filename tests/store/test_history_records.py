"""Notes as bytes: they come back as they were, they are few, and any bytes are notes or refused."""

import uuid
from contextlib import suppress
from dataclasses import fields, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.domain.decisions import Result
from proxy.domain.history import JobEnd, Note, Reason
from proxy.domain.jobs import Try
from proxy.domain.receipts import NOTED
from proxy.domain.times import from_ms, to_ms
from proxy.store.history_records import (
    BUCKETS,
    NotesOfMessage,
    bucket_of,
    divided,
    filed,
    load_notes,
    record_of,
    sign_of_account,
    sign_of_device,
    sign_of_message,
    unfiled,
)
from proxy.store.records import UnreadableRecord
from tests.store.samples import NOON, alert, apns_lane, job

NOON_MS = to_ms(NOON)
MESSAGE = "0123456789abcdef"
NOTE = Note(
    MESSAGE, "p2p:alice", NOON_MS, NOON_MS - 1200, Result.ACCEPTED, "bob", "phone-1", "main", "apns",
    planned_at_ms=NOON_MS + 4, pushed_at_ms=NOON_MS + 9, ended_at_ms=NOON_MS + 80,
)  # fmt: skip

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
times = st.just(0) | st.integers(1, 253402300799999)  # to the end of the year 9999
names = texts.filter(lambda text: ":" not in text)
notes = st.builds(
    Note,
    message_id=st.just(MESSAGE) | texts,
    conversation=texts | texts.map("p2p:{}".format) | texts.map("topic:{}".format),
    accepted_at_ms=st.integers(0, 253402300799999),
    sent_at_ms=times,
    result=st.sampled_from([*Result, *(it for it in Reason if not it.name.startswith("WAITS")), *NOTED.values()]).map(
        str
    ),
    account=texts,
    device_id=texts | st.uuids().map(str) | st.uuids().map(lambda it: str(it).upper()),
    app=names.filter(bool),
    channel=texts,
    reason=texts,
    silent=st.booleans(),
    planned_at_ms=times,
    pushed_at_ms=times,
    ended_at_ms=times,
    tries=st.lists(st.builds(Try, st.integers(1, 253402300799999).map(from_ms), texts), max_size=3).map(tuple),
)


@given(notes)
def test_a_note_comes_back_as_it_was(note: Note) -> None:
    assert list(load_notes(record_of(note))) == [note]


@given(st.lists(notes, max_size=4))
def test_notes_that_are_divided_among_places_are_all_there(some: list[Note]) -> None:
    found = divided(b"".join(map(record_of, some)), len)
    assert sorted(repr(it) for part in found.values() for it in load_notes(part)) == sorted(map(repr, some))
    assert all(len(it.account) == place for place, part in found.items() for it in load_notes(part))


@given(notes, st.lists(notes, max_size=4))
@example(replace(NOTE, accepted_at_ms=0, result="delivered"), [replace(NOTE, pushed_at_ms=NOON_MS + 7)])
def test_notes_with_a_head_in_common_share_a_record_and_come_back_when_they_are_filed(
    note: Note, others: list[Note]
) -> None:
    head = {it.name for it in fields(Note)} - {"account", "device_id", "planned_at_ms", "pushed_at_ms",
                                               "ended_at_ms", "tries"}  # fmt: skip
    alike = [note, *(replace(it, **{name: getattr(note, name) for name in head}) for it in others)]
    alike = [replace(it, ended_at_ms=it.ended_at_ms or 1, pushed_at_ms=it.pushed_at_ms or 1) for it in alike]
    together = NotesOfMessage()
    together.add(alike)
    for records in ([together.records()[0]], [record_of(it) for it in alike]):
        by_bucket = filed(records)
        assert by_bucket.keys() == {bucket_of(it.account) for it in alike}
        found = [it for entry in by_bucket.values() for it in load_notes(unfiled(*entry))]
        assert sorted(map(repr, found)) == sorted(map(repr, alike))
    assert len(together.records()[0]) <= sum(len(record_of(it)) for it in alike) + 2 * len(alike)


@given(notes)
def test_what_is_looked_for_is_in_the_record(note: Note) -> None:
    record = record_of(note)
    for sign in (sign_of_message(note.message_id), sign_of_account(note.account), sign_of_device(note.device_id)):
        assert sign in record


@given(st.sampled_from([b"r", b"z"]), st.binary() | notes.map(lambda note: record_of(note)[:-1]))
def test_any_bytes_are_notes_or_are_left_out(name: bytes, value: bytes) -> None:
    with suppress(UnreadableRecord):
        list(load_notes(unfiled(name, value)))


def test_what_another_version_wrote_hides_nothing_of_ours() -> None:
    record = record_of(NOTE)
    other = record.replace(b"\x22\x01", b"\x42\x01", 1)  # its version
    assert other != record
    assert list(load_notes(other + record)) == [NOTE]


def test_the_first_format_is_read_as_it_was_meant_and_written_as_it_was_at_first() -> None:
    kept = bytes.fromhex(
        "0f1e22010123456789abcdef01a20846fe00e01205616c69636502046d61696e1103626f620e70686f6e652d31090b8f0100"
    )
    assert record_of(NOTE).hex() == kept.hex()
    assert list(load_notes(kept)) == [NOTE]
    assert list(load_notes(b"\0" + kept[1:])) == [NOTE]  # in the bucket that earlier programs put it into


def test_a_note_of_a_job_is_written_like_the_note_that_it_stands_for() -> None:
    end = JobEnd(
        job(apns_lane("77"), "bob", of=alert(MESSAGE)), Result.ACCEPTED, "", NOON_MS + 4, NOON_MS + 9, NOON_MS + 80
    )
    assert record_of(end) == record_of(end.note)
    assert (end.note.account, end.note.planned_at_ms, end.note.ended_at_ms) == ("bob", NOON_MS + 4, NOON_MS + 80)


def test_a_note_of_a_message_between_two_people_takes_few_bytes() -> None:
    assert len(record_of(NOTE)) <= 53
    assert len(record_of(replace(NOTE, device_id=str(uuid.UUID(int=7)).upper()))) <= 61


@pytest.mark.parametrize("shards", [1, 2, 4, 8, 16, 32, 64])
def test_a_bucket_lies_in_one_shard(shards: int) -> None:
    assert BUCKETS % shards == 0
