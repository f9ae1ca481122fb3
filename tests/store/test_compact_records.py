"""Records of a compact store: the same things in fewer bytes, and the bytes stay what they are."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.alerts import AlertText
from proxy.domain.devices import Address, ApnsEnvironment, Platform
from proxy.domain.jobs import Job
from proxy.domain.kinds import FOLD, Kind
from proxy.domain.offline_messages import offline_message
from proxy.domain.times import from_ms
from proxy.store.compact_records import (
    dump_own,
    dump_words,
    name_of_words,
    sharing,
    with_words,
    words_name,
)
from proxy.store.records import (
    UnreadableRecord,
    dump_device,
    dump_job,
    dump_offline_message,
    load_device,
    load_job,
    load_offline_message,
    without_address,
)
from tests.store.golden import IPHONE, TO_A_GROUP, TO_ONE, TRIES, jobs
from tests.store.samples import NOON, apns_lane, device, job

ID = "0123456789abcdef" * 2
PHONE = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
ONE = replace(
    job(apns_lane("77"), "cai", PHONE), token_digest=ID, alert=replace(job(apns_lane("77")).alert, message_id=ID)
)
FALLBACKS = (Address(Platform.HTTP, "fcm:7"), Address(Platform.APNS, "a1b2", ApnsEnvironment.SANDBOX))

KEPT: dict[str, str] = json.loads((Path(__file__).parents[1] / "data/records/compact.json").read_text())


def written() -> dict[str, bytes]:
    """One of each, as this program writes it."""
    fold = replace(ONE, alert=replace(ONE.alert, text=ONE.alert.text.folded(is_group=False, count=3)))
    words = dump_words(ONE.alert, ONE.alert.text)
    short = sharing(words_name(words), dump_own(ONE))
    with_fallbacks = replace(IPHONE, fallbacks=FALLBACKS, first_platform="mipush", invalid_reason="")
    return {
        "callback of a group": dump_offline_message(offline_message(TO_A_GROUP, NOON), compact=True),
        "callback": dump_offline_message(offline_message(TO_ONE, NOON), compact=True),
        **{f"job, {name}": dump_job(one, compact=True) for name, one in jobs()._asdict().items()},
        "job of an iPhone": dump_job(ONE, compact=True),
        "fold": dump_job(fold, compact=True),
        "job that shares its words": short,
        "words": words,
        "update that a script made": b"\x0312\xff" + short,
        "device": dump_device(IPHONE, compact=True),
        "device with fallbacks": dump_device(with_fallbacks, compact=True),
    }


def test_what_the_first_version_of_this_form_wrote_is_written_and_so_read_as_then() -> None:
    """compact.json is never written anew: what it holds lies in stores. A new member is a new first byte, or a flag."""
    assert {name: record.hex() for name, record in written().items()} == KEPT


@pytest.mark.parametrize("callback", [TO_A_GROUP, TO_ONE])
def test_a_message_takes_half_of_its_json(callback) -> None:  # type: ignore[no-untyped-def]
    message = offline_message(callback, NOON)
    compact = dump_offline_message(message, compact=True)
    assert load_offline_message(compact) == message
    assert len(compact) < 0.55 * len(dump_offline_message(message))


@pytest.mark.parametrize("one", [*jobs(), ONE])
def test_a_job_takes_two_thirds_of_its_json(one: Job) -> None:
    compact = dump_job(one, compact=True)
    assert load_job(compact) == one
    assert len(compact) < 0.67 * len(dump_job(one))


def test_a_device_with_fallbacks_is_read_back_and_takes_two_thirds_of_its_json() -> None:
    one = replace(IPHONE, fallbacks=FALLBACKS, first_platform="mipush", invalid_reason="")
    compact = dump_device(one, compact=True)
    assert load_device("main", "phone-1", compact) == one
    assert len(compact) < 0.67 * len(dump_device(one))


def test_an_address_goes_from_a_compact_record_as_from_any() -> None:
    one = replace(device(), fallbacks=FALLBACKS)
    for address in one.addresses:
        left, as_json = (
            without_address(dump_device(one, compact=compact), address.platform, address.push_token)
            for compact in (True, False)
        )
        assert left
        assert as_json
        assert load_device("main", "phone", left) == load_device("main", "phone", as_json)
    assert without_address(dump_device(one, compact=True), "apns", "another") is None
    assert without_address(dump_device(device(), compact=True), "apns", "a1b2") is None


def test_what_people_wrote_is_left_out_of_a_dead_letters_record() -> None:
    secret = replace(ONE, alert=replace(ONE.alert, text=AlertText("ann", "words", Kind.REPLY, "group", "by", "pic")))
    record = dump_job(secret, with_text=False, compact=True)
    assert load_job(record) == replace(secret, alert=replace(secret.alert, text=AlertText("", "")))
    message = offline_message(TO_A_GROUP, NOON)
    kept = dump_offline_message(message, with_payload=False, compact=True)
    assert load_offline_message(kept) == replace(message, payload=b"")


def test_what_does_not_fit_is_written_as_json() -> None:
    far = replace(ONE, alert=replace(ONE.alert, order=replace(ONE.alert.order, sequence=2**70)))
    assert dump_job(far, compact=True) == dump_job(far)
    odd = replace(offline_message(TO_ONE, NOON), conversation="")
    assert load_offline_message(dump_offline_message(odd, compact=True)) == odd


def test_any_text_is_kept_even_half_of_a_surrogate_pair() -> None:
    odd = replace(ONE, account="\ud800", device_id="", history=TRIES)
    assert load_job(dump_job(odd, compact=True)) == odd


@given(st.sampled_from([b"\2", b"\3", b"\4"]), st.binary())
def test_any_bytes_behind_its_first_are_a_record_or_an_unreadable_one(first: bytes, rest: bytes) -> None:
    for load in (load_job, load_offline_message, lambda record: load_device("main", "phone", record)):
        with contextlib.suppress(UnreadableRecord):
            load(first + rest)


@pytest.mark.parametrize("of", [ONE, replace(ONE, history=TRIES, planned_at_ms=7, device_id="phone")])
def test_a_job_that_shares_its_words_is_whole_again_with_them(of: Job) -> None:
    words = dump_words(of.alert, of.alert.text)
    short = sharing(words_name(words), dump_own(of))
    assert name_of_words(short) == words_name(words)
    assert load_job(with_words(short, words)) == of
    assert name_of_words(with_words(short, words)) is None


def test_a_job_whose_words_are_gone_has_expired() -> None:
    """They live longer than it may be shown."""
    words = dump_words(ONE.alert, ONE.alert.text)
    found = load_job(sharing(words_name(words), dump_own(ONE)))
    assert (found.account, found.device_id, found.alert.expires_at) == ("cai", PHONE, from_ms(0))


@pytest.mark.parametrize("shares", [True, False])
def test_the_update_of_a_fold_that_a_script_makes_tells_how_many_there_are(shares: bool) -> None:
    words = dump_words(ONE.alert, ONE.alert.text)
    record = sharing(words_name(words), dump_own(ONE)) if shares else dump_job(ONE, compact=True)
    update = b"\x0312\xff" + record
    if shares:
        assert name_of_words(update) == words_name(words)
        update = with_words(update, words)
    found = load_job(update)
    assert (found.alert.text.kind, found.alert.text.count, found.account) == (FOLD, 12, "cai")
    assert load_job(dump_job(found, compact=True)) == found
