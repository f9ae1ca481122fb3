"""What is written is read back the same, by this version and by no other."""

import json
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.alerts import Alert, AlertText, Order, Update
from proxy.domain.callbacks import Recipient
from proxy.domain.devices import ApnsEnvironment, Device, Platform
from proxy.domain.jobs import Job, Try
from proxy.domain.kinds import Kind
from proxy.domain.offline_messages import OfflineMessage, offline_message
from proxy.domain.preferences import Mute, Preferences, QuietHours
from proxy.domain.previews import Preview
from proxy.domain.times import from_ms, to_ms
from proxy.store.records import (
    UnreadableRecord,
    dump_device,
    dump_job,
    dump_offline_message,
    dump_order,
    dump_preferences,
    load_device,
    load_job,
    load_offline_message,
    load_order,
    load_preferences,
    preferences_or_strictest,
)
from tests.store.samples import DAY, NOON, SECOND, apns_lane, callback, device, job

moments = st.integers(min_value=0, max_value=4_102_444_800_000).map(from_ms)
counts = st.integers(min_value=0, max_value=2**70)
words = st.text()
orders = st.builds(Order, counts, counts, counts)
recipients = st.builds(Recipient, words, st.lists(words, max_size=3).map(tuple))
messages = st.builds(
    OfflineMessage, words, words, words, words, st.lists(recipients, max_size=4).map(tuple), st.binary(), words, words,
    counts, moments,
)  # fmt: skip
alerts = st.builds(
    Alert, words, words, st.builds(AlertText, words, words), orders, moments, silent=st.booleans(),
    update=st.none() | st.sampled_from(Update),
)  # fmt: skip
tries = st.lists(st.builds(Try, moments, words), max_size=3).map(tuple)
jobs = st.builds(Job, words, words, words, words, alerts, counts, st.booleans(), tries)
mutes = st.dictionaries(words, st.builds(Mute, st.none() | moments.filter(to_ms), st.booleans()), max_size=3)
clocks = st.times().map(lambda it: it.replace(second=0, microsecond=0))
zones = st.sampled_from(["UTC", "Asia/Shanghai", "America/St_Johns"]).map(ZoneInfo)
quiet_hours = st.builds(QuietHours, clocks, clocks, zones, st.booleans())
preferences = st.builds(Preferences, mutes, st.none() | quiet_hours, st.sampled_from(Preview))
devices = st.builds(
    Device, st.just("main"), words, st.just("phone"), st.sampled_from(Platform), words, moments,
    st.sampled_from(ApnsEnvironment), words, words, st.just("BadDeviceToken"),
)  # fmt: skip


@given(messages, st.booleans())
def test_a_message_is_read_back_as_it_was(message: OfflineMessage, compact: bool) -> None:
    assert load_offline_message(dump_offline_message(message, compact=compact)) == message


@given(jobs, st.booleans())
def test_a_job_is_read_back_as_it_was(one: Job, compact: bool) -> None:
    assert load_job(dump_job(one, compact=compact)) == one


@given(devices, st.booleans())
def test_a_device_is_read_back_as_it_was(one: Device, compact: bool) -> None:
    assert load_device("main", "phone", dump_device(one, compact=compact), "BadDeviceToken") == one


@given(preferences)
def test_preferences_are_read_back_as_they_were(one: Preferences) -> None:
    assert load_preferences(dump_preferences(one)) == one


def test_a_job_whose_alert_sounds_says_nothing_of_silence() -> None:
    one = job(apns_lane("7"))
    silent = replace(one, alert=replace(one.alert, silent=True))
    assert dump_job(silent) == dump_job(one)[:-1] + b',"silent":1}'
    assert load_job(dump_job(silent)) == silent
    seen = replace(one, alert=replace(one.alert, text=replace(one.alert.text, sender="1001", avatar="https://a/b")))
    assert dump_job(seen) == dump_job(one)[:-1] + b',"by":"1001","pic":"https://a/b"}'
    assert load_job(dump_job(seen)) == seen
    assert b"1001" not in dump_job(seen, with_text=False)
    named = replace(one, alert=replace(one.alert, mentioned=True))
    assert dump_job(named) == dump_job(one)[:-1] + b',"mentioned":1}'
    assert load_job(dump_job(named)) == named


def test_a_job_that_was_put_off_knows_when_it_was_planned_and_any_other_is_written_as_before() -> None:
    one = job(apns_lane("77"))
    assert load_job(dump_job(one)).planned_at_ms == 0
    put_off = replace(one, planned_at_ms=1795435200000)
    assert dump_job(put_off) == dump_job(one)[:-1] + b',"plan":1795435200000}'
    assert load_job(dump_job(put_off)).planned_at_ms == 1795435200000
    with pytest.raises(UnreadableRecord):
        load_job(dump_job(one)[:-1] + b',"plan":"soon"}')


@pytest.mark.parametrize(
    "record",
    [
        b"{}",
        b"[]",
        b'{"v":2}',
        b'{"v":1,"mutes":[]}',
        b'{"v":1,"mutes":{"p2p:ann":5}}',
        b'{"v":1,"mutes":{"p2p:ann":["5",0]}}',
        b'{"v":1,"mutes":{"p2p:ann":[100000000000000000000,0]}}',
        b'{"v":1,"quiet":[]}',
        b'{"v":1,"quiet":["22:00","07:00",5,1]}',
        b'{"v":1,"quiet":["22:00","07:00","Asia/Atlantis",1]}',
        b'{"v":1,"quiet":["22:00","25:00","UTC",1]}',
        b'{"v":1,"preview":"more"}',
    ],
)
def test_preferences_of_another_shape_are_unreadable_and_show_as_little_as_any(record: bytes) -> None:
    with pytest.raises(UnreadableRecord):
        load_preferences(record)
    assert preferences_or_strictest(record) == Preferences(preview=Preview.NONE)


@given(orders)
def test_an_order_is_read_back_as_it_was(order: Order) -> None:
    assert load_order(dump_order(order)) == order


@given(st.integers(min_value=0, max_value=4_102_444_800_000))
def test_a_moment_keeps_its_millisecond(ms: int) -> None:
    assert to_ms(from_ms(ms)) == ms


def test_a_record_holds_any_text_even_half_of_a_surrogate_pair() -> None:
    odd = replace(job(apns_lane("7")), account="\ud800")
    assert load_job(dump_job(odd)) == odd
    message = replace(offline_message(callback("7"), NOON), sender="\udfff")
    assert load_offline_message(dump_offline_message(message)) == message


def test_a_sequence_of_thousands_of_digits_is_unreadable() -> None:
    with pytest.raises(UnreadableRecord):
        load_offline_message(dump_offline_message(replace(offline_message(callback("7"), NOON), sequence="9" * 5000)))


def test_a_job_that_was_never_tried_in_vain_says_nothing_of_tries() -> None:
    assert b"tries" not in dump_job(job(apns_lane("7")))


@pytest.mark.parametrize("update", Update)
def test_an_earlier_program_takes_no_update_for_an_alert(update: Update) -> None:
    one = job(apns_lane("77"))
    assert json.loads(dump_job(one))["v"] == 1
    assert json.loads(dump_job(replace(one, alert=replace(one.alert, update=update))))["v"] == 2


def test_a_job_of_a_text_says_nothing_of_its_kind() -> None:
    record = json.loads(dump_job(job(apns_lane("7"))))
    assert {"kind", "group", "urgent"}.isdisjoint(record)


@pytest.mark.parametrize(
    ("text", "as_an_earlier_program_says_it"),
    [
        (AlertText("ann", "", Kind.PICTURE), ["ann", "[Photo]"]),
        (AlertText("ann", "", "ORDER_PAID"), ["ann", "New message"]),
        (AlertText("", "", Kind.NEW), ["New message", "New message"]),
        (AlertText("", "hi there"), ["New message", "hi there"]),
        (AlertText("ann", "hi there", Kind.REPLY, "The family"), ["ann", "hi there"]),
    ],
)
def test_a_job_whose_words_are_chosen_at_the_push_is_read_back_and_says_enough_to_an_earlier_program(
    text: AlertText, as_an_earlier_program_says_it: list[str]
) -> None:
    one = replace(job(apns_lane("7")), alert=replace(job(apns_lane("7")).alert, text=text, urgent=True))
    assert load_job(dump_job(one)) == one
    assert json.loads(dump_job(one))["text"] == as_an_earlier_program_says_it


def test_a_device_s_preview_is_read_back_and_the_usual_one_not_written() -> None:
    shy = replace(device(), preview=Preview.NONE)
    assert load_device("main", "phone", dump_device(shy)) == shy
    assert b"preview" not in dump_device(device())
    odd = json.dumps({**json.loads(dump_device(device())), "preview": "some"}).encode()
    with pytest.raises(UnreadableRecord):
        load_device("main", "phone", odd)


def test_a_message_without_payload_keeps_all_but_what_was_written() -> None:
    message = offline_message(callback("7"), NOON)
    record = dump_offline_message(message, with_payload=False)
    assert load_offline_message(record) == replace(message, payload=b"")


@pytest.mark.parametrize("member", ["id", "app", "conv", "from", "biz", "seq", "sent", "to"])
def test_a_message_with_a_member_of_another_shape_is_unreadable(member: str) -> None:
    record = json.loads(dump_offline_message(offline_message(callback("7"), NOON)))
    with pytest.raises(UnreadableRecord):
        load_offline_message(json.dumps({**record, member: [{"the words": "of ann"}]}).encode())


def test_a_job_without_text_is_read_as_one_that_says_nothing() -> None:
    record = dump_job(job(apns_lane("7")), with_text=False)
    assert b"words" not in record
    assert load_job(record).alert.text == AlertText("", "")
    assert load_job(record).id == job(apns_lane("7")).id


@given(
    st.binary()
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda it: (
            st.lists(it)
            | st.dictionaries(st.sampled_from(["v", "id", "app", "to", "text", "order", "until", "at"]), it)
        ),
    ).map(lambda it: json.dumps(it).encode())
)
def test_any_bytes_are_a_record_or_an_unreadable_one(record: bytes) -> None:
    for read in (load_job, load_offline_message, load_preferences, lambda it: load_device("main", "phone", it)):
        with pytest.raises(UnreadableRecord):
            read(record)


@pytest.mark.parametrize(
    ("record", "read"),
    [
        (dump_job(job(apns_lane("7"))), load_job),
        (dump_offline_message(offline_message(callback("7"), NOON)), load_offline_message),
        (dump_device(device()), lambda it: load_device("main", "phone", it)),
    ],
)
def test_a_later_versions_or_a_damaged_record_is_unreadable_and_shows_nothing(record: bytes, read) -> None:  # type: ignore[no-untyped-def]
    whole = json.loads(record)
    damaged = [json.dumps({**whole, "v": 2}).encode(), record[:-1], b"[]"]
    damaged += [json.dumps({k: v for k, v in whole.items() if k != name}).encode() for name in whole]
    damaged += [json.dumps({**whole, "at": 10**30, "until": 10**30}).encode()]
    for it in damaged:
        with pytest.raises(UnreadableRecord) as caught:
            read(it)
        assert "words" not in str(caught.value)
        assert "a1b2" not in str(caught.value)


@pytest.mark.parametrize("wrong", [5, None, ["words"], {"words": 1}, True])
def test_a_job_or_a_device_with_a_member_of_another_type_is_unreadable(wrong: object) -> None:
    one, registered = json.loads(dump_job(job(apns_lane("7")))), json.loads(dump_device(device()))
    jobs_ = [one | {name: wrong} for name in ("app", "channel", "account", "device", "message", "conv")]
    jobs_ += [one | {"text": ["words", wrong]}, one | {"order": [1, 2, str(wrong)]}, one | {"attempt": str(wrong)}]
    for it in jobs_:
        with pytest.raises(UnreadableRecord):
            load_job(json.dumps(it).encode())
    for name in ("account", "token", "locale", "resource"):
        with pytest.raises(UnreadableRecord):
            load_device("main", "phone", json.dumps(registered | {name: wrong}).encode())


def test_an_undelivered_message_keeps_what_plan_needs() -> None:
    message = offline_message(callback("7", [Recipient("ben", ("r1",))], sequence="41"), NOON)
    assert (message.sender, message.conversation, message.accepted_at) == ("ann", "topic:t1", NOON)
    assert message.recipients == (Recipient("ben", ("r1",)),)
    assert message.order == Order(41, 0, to_ms(NOON))
    assert "words" not in repr(message)


@pytest.mark.parametrize(("sent_ago", "life_left"), [
    (None, DAY),
    (60 * SECOND, DAY - 60 * SECOND),  # the message was a minute old when it came
    (DAY - SECOND, SECOND),
    (DAY, DAY),  # a clock that far off is not believed
    (-60 * SECOND, DAY),  # from the future: ours counts
    (timedelta(days=400), DAY),
])  # fmt: skip
def test_an_alert_lives_from_our_acceptance_and_shorter_where_the_message_says_when_it_was_written(
    sent_ago: timedelta | None, life_left: timedelta
) -> None:
    sent_at_ms = to_ms(NOON - sent_ago) if sent_ago is not None else 0
    message = OfflineMessage("m1", "7", "p2p:ann", "ann", (), b"", "", "x1", sent_at_ms, NOON)
    made = message.alert(AlertText("ann", "hi"), DAY)
    assert made.expires_at == NOON + life_left
    assert made.order.sequence == 0  # no number: by time then
    assert made.message_id == "m1"
