"""Notes as bytes: they come back as they were, they are few, and any bytes are notes or refused."""

import uuid
from contextlib import suppress
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.decisions import Result
from proxy.domain.history import Note, Reason
from proxy.domain.jobs import Try
from proxy.domain.times import from_ms, to_ms
from proxy.store.history_records import (
    BUCKETS,
    NotesOfMessage,
    bucket_of,
    head_of,
    load_notes,
    member_of,
    sign_of_account,
    sign_of_device,
    sign_of_message,
)
from proxy.store.records import UnreadableRecord
from tests.store.samples import NOON

NOON_MS = to_ms(NOON)
MESSAGE = "0123456789abcdef"
NOTE = Note(
    MESSAGE, "p2p:alice", NOON_MS, NOON_MS - 1200, Result.ACCEPTED, "bob", "phone-1", "main", "apns",
    planned_at_ms=NOON_MS + 4, pushed_at_ms=NOON_MS + 9, answered_at_ms=NOON_MS + 80,
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
    result=st.sampled_from([*(it for it in Result), *(it for it in Reason if not it.name.startswith("WAITS"))]).map(
        str
    ),
    account=texts,
    device_id=texts | st.uuids().map(str) | st.uuids().map(lambda it: str(it).upper()),
    app=names.filter(bool),
    channel=texts,
    reason=texts,
    silent=st.booleans(),
    urgent=st.booleans(),
    planned_at_ms=times,
    pushed_at_ms=times,
    answered_at_ms=times,
    tries=st.lists(st.builds(Try, st.integers(1, 253402300799999).map(from_ms), texts), max_size=3).map(tuple),
)


@given(notes)
def test_a_note_comes_back_as_it_was(note: Note) -> None:
    assert list(load_notes(head_of(note) + member_of(note))) == [note]


@given(notes, st.lists(notes, max_size=4))
def test_notes_with_a_head_in_common_share_a_record(note: Note, others: list[Note]) -> None:
    head = {it.name for it in fields(Note)} - {"account", "device_id", "planned_at_ms", "pushed_at_ms",
                                               "answered_at_ms", "tries"}  # fmt: skip
    alike = [note, *(replace(it, **{name: getattr(note, name) for name in head}) for it in others)]
    together = NotesOfMessage()
    together.add(alike)
    records = together.records()
    assert len(records) == len({bucket_of(it.account) for it in alike})
    found = [it for _, record in records for it in load_notes(record)]
    assert sorted(map(repr, found)) == sorted(map(repr, alike))


@given(notes)
def test_what_is_looked_for_is_in_the_record(note: Note) -> None:
    record = head_of(note) + member_of(note)
    for sign in (sign_of_message(note.message_id), sign_of_account(note.account), sign_of_device(note.device_id)):
        assert sign in record


@given(st.binary() | notes.map(lambda note: (head_of(note) + member_of(note))[:-1]))
def test_any_bytes_are_notes_or_an_unreadable_record(record: bytes) -> None:
    with suppress(UnreadableRecord):
        list(load_notes(record))


def test_the_first_format_is_read_as_it_was_meant_and_written_as_it_was_at_first() -> None:
    kept = bytes.fromhex(
        "0101040123456789abcdef01a20846fe00e01205616c69636502046d61696e0003626f620e70686f6e652d31090b8f0100"
    )
    assert (head_of(NOTE) + member_of(NOTE)).hex() == kept.hex()
    assert list(load_notes(kept)) == [NOTE]


def test_a_note_of_a_message_between_two_people_takes_few_bytes() -> None:
    assert len(head_of(NOTE) + member_of(NOTE)) <= 52
    with_uuid = replace(NOTE, device_id=str(uuid.UUID(int=7)).upper())
    assert len(head_of(with_uuid) + member_of(with_uuid)) <= 60


@pytest.mark.parametrize("shards", [1, 2, 4, 8, 16, 32, 64])
def test_a_bucket_lies_in_one_shard(shards: int) -> None:
    assert BUCKETS % shards == 0
