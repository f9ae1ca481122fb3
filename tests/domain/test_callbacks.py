from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.domain.callbacks import Callback, CallbackOrigin, Kind, Recipient, digest

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
ORIGIN = CallbackOrigin("2", ("1", "2"), "1793534400000", "sealed")
PERSONAL = Callback(
    kind=Kind.OFFLINE_MSG,
    app_id="2",
    from_account="ann",
    topic_id=None,
    recipients=(Recipient("ben"),),
    payload=b"hi",
    origin=ORIGIN,
    sent_at=NOON,
    sequence="154503794553568001",
    packet_id="abc-17",
    biz_type="TEXT",
)
GROUP = replace(PERSONAL, kind=Kind.OFFLINE_TOPIC_MSG, topic_id="77", recipients=(Recipient("ben"), Recipient("carl")))
BY_PACKET: dict[str, Any] = {"sequence": None}
BY_CONTENT: dict[str, Any] = {"sequence": None, "packet_id": None}


def remade(callback: Callback, **origin: Any) -> Callback:
    return replace(callback, origin=replace(callback.origin, **origin))


@pytest.mark.parametrize("kind", Kind)
def test_only_the_offline_kinds_name_people_who_missed_it(kind: Kind) -> None:
    assert kind.is_offline == kind.name.startswith("OFFLINE")


@pytest.mark.parametrize("ids", [{}, BY_PACKET, BY_CONTENT])
def test_the_instant_and_the_offline_callback_tell_of_one_message(ids: dict[str, Any]) -> None:
    personal, group = replace(PERSONAL, **ids), replace(GROUP, **ids)
    assert replace(personal, kind=Kind.NORMAL_MSG).message_id == personal.message_id
    assert replace(group, kind=Kind.NORMAL_TOPIC_MSG).message_id == group.message_id


@pytest.mark.parametrize("ids", [{}, BY_PACKET, BY_CONTENT])
def test_a_group_message_is_one_whoever_is_named(ids: dict[str, Any]) -> None:
    group = replace(GROUP, **ids)
    assert replace(group, recipients=(Recipient("dora"),)).message_id == group.message_id
    assert replace(group, recipients=()).message_id == group.message_id


@pytest.mark.parametrize("ids", [{}, BY_PACKET, BY_CONTENT])
def test_an_authentication_made_anew_changes_no_name(ids: dict[str, Any]) -> None:
    callback = replace(PERSONAL, **ids)
    again = remade(callback, authentication="sealed anew")
    assert (again.message_id, again.callback_id) == (callback.message_id, callback.callback_id)


@pytest.mark.parametrize(
    "other",
    [
        replace(PERSONAL, sequence="154503794553568002"),
        replace(PERSONAL, from_account="bea"),
        replace(PERSONAL, recipients=(Recipient("carl"),)),
        GROUP,
        replace(GROUP, topic_id="78"),
        replace(PERSONAL, **BY_PACKET),
    ],
)
def test_another_sequence_pair_or_group_is_another_message(other: Callback) -> None:
    assert other.message_id != PERSONAL.message_id


@pytest.mark.parametrize(
    "same",
    [
        replace(PERSONAL, packet_id=None),
        replace(PERSONAL, payload=b"other", biz_type=""),
        replace(PERSONAL, recipients=(Recipient("ben", ("web",)),)),
        remade(PERSONAL, timestamp="1"),
        replace(GROUP, topic_id=None, kind=Kind.NORMAL_MSG),
    ],
)
def test_with_a_sequence_nothing_else_makes_another_message(same: Callback) -> None:
    assert same.message_id == PERSONAL.message_id


def test_without_a_sequence_the_packet_id_and_the_sender_name_the_message() -> None:
    first = replace(PERSONAL, **BY_PACKET)
    assert replace(first, payload=b"other").message_id == first.message_id
    assert replace(first, packet_id="abc-18").message_id != first.message_id
    assert replace(first, from_account="bea").message_id != first.message_id


@pytest.mark.parametrize(
    "changed",
    [
        {"payload": b"hi!"},
        {"from_account": "bea"},
        {"recipients": (Recipient("carl"),)},
        {"topic_id": "77"},
        {"origin": replace(ORIGIN, timestamp="1793534400001")},
        {"origin": replace(ORIGIN, timestamp=None)},
        {"origin": replace(ORIGIN, app_ids=("1", "3"))},
        {"origin": replace(ORIGIN, app_ids=("1",))},
    ],
)
def test_without_any_id_everything_that_the_message_is_names_it(changed: dict[str, Any]) -> None:
    first = replace(PERSONAL, **BY_CONTENT)
    assert replace(first, **changed).message_id != first.message_id


def test_the_order_of_the_apps_is_no_difference() -> None:
    first = replace(PERSONAL, **BY_CONTENT)
    assert remade(first, app_ids=("2", "1")).message_id == first.message_id


def test_an_app_id_cannot_pass_for_a_sender() -> None:
    first = remade(replace(PERSONAL, **BY_CONTENT, from_account="topic"), app_ids=("1",))
    other = remade(replace(GROUP, **BY_CONTENT, topic_id="topic", from_account="p2p"), app_ids=("1", "topic"))
    assert first.message_id != other.message_id


@pytest.mark.parametrize(
    "same",
    [
        replace(GROUP, recipients=(Recipient("carl"), Recipient("ben"))),
        replace(GROUP, payload=b"other"),
        replace(GROUP, sent_at=None),
    ],
)
def test_a_repeat_of_a_callback_has_its_name(same: Callback) -> None:
    assert same.callback_id == GROUP.callback_id


def test_the_order_of_resources_is_no_difference() -> None:
    first, second = (replace(GROUP, recipients=(Recipient("ben", order),)) for order in (("a", "b"), ("b", "a")))
    assert first.callback_id == second.callback_id


@pytest.mark.parametrize(
    "other",
    [
        replace(GROUP, kind=Kind.NORMAL_TOPIC_MSG),
        replace(GROUP, app_id="3"),
        replace(GROUP, sequence="2"),
        replace(GROUP, recipients=(Recipient("ben"),)),
        replace(GROUP, recipients=(Recipient("ben"), Recipient("carl", ("web",)))),
        replace(GROUP, recipients=(Recipient("ben", ("carl",)),)),
        replace(GROUP, recipients=()),
    ],
)
def test_another_kind_app_message_or_circle_of_readers_is_another_callback(other: Callback) -> None:
    assert other.callback_id != GROUP.callback_id


def test_a_conversation_is_the_group_or_the_talk_with_the_sender() -> None:
    assert GROUP.conversation == "topic:77"
    assert PERSONAL.conversation == "p2p:ann"
    assert replace(PERSONAL, from_account="topic:77").conversation != GROUP.conversation


def test_neither_payload_nor_authentication_is_in_a_repr() -> None:
    assert "b'hi'" not in repr(PERSONAL)
    assert "sealed" not in repr(PERSONAL)


PARTS = st.lists(st.text(st.sampled_from("ab\x00é\ud800")) | st.binary(max_size=4), max_size=4)


@RELAXED
@given(PARTS, PARTS)
def test_a_digest_tells_any_two_lists_of_parts_apart(some: list[str | bytes], others: list[str | bytes]) -> None:
    def raw(parts: list[str | bytes]) -> list[bytes]:
        return [part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass") for part in parts]

    assert (digest(*some) == digest(*others)) == (raw(some) == raw(others))


def test_a_digest_is_32_hex_digits_that_stay_the_same_between_versions() -> None:
    assert digest("sequence", "p2p", "ann", "ben", "1") == "deb8f7bdb0033b8565d23394d3f7e2dc"
    assert len(digest()) == 32
    assert digest(None) == digest("") == digest(b"")
