import base64
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.domain.callbacks import Callback, Ignored, Kind, Recipient
from proxy.errors import BadCallback
from proxy.mimc.wire import MAX_BODY, MAX_RECIPIENTS, parse_callback, read_base64, timestamp_ms

Members = dict[str, Any]
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy

PERSONAL: Members = {  # the members of 2018
    "msgType": "OFFLINE_MSG",
    "fromAppId": "2882303761517000001",
    "fromAccount": "ann",
    "toAppId": "2882303761517000002",
    "toAccount": "ben",
    "payload": base64.b64encode(b'{"type":"TEXT"}').decode(),
    "timestamp": "1516763973123",
}
GROUP: Members = {
    "msgType": "OFFLINE_TOPIC_MSG",
    "appId": "2882303761517000001",
    "topicId": "21351198708203520",
    "fromAccount": "ann",
    "toAccounts": ["ben", "carl"],
    "payload": base64.b64encode(b"hello").decode(),
    "timestamp": "1516763973123",
}
LATER: Members = {
    "fromResource": "mi5",
    "toResource": "web",
    "packetId": "abc-17",
    "sequence": "154503794553568001",
    "bizType": "TEXT",
    "authentication": "c2VhbGVk",
}


def parse(members: Members) -> Callback:
    callback = parse_callback(json.dumps(members).encode())
    assert isinstance(callback, Callback)
    return callback


def refusal(body: bytes | Members) -> BadCallback:
    with pytest.raises(BadCallback) as caught:
        parse_callback(body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value


def test_an_offline_message_of_2018_is_a_callback() -> None:
    callback = parse(PERSONAL)
    assert callback.kind is Kind.OFFLINE_MSG
    assert callback.app_id == "2882303761517000002"
    assert callback.from_account == "ann"
    assert callback.topic_id is None
    assert callback.recipients == (Recipient("ben"),)
    assert callback.payload == b'{"type":"TEXT"}'
    assert callback.sent_at == datetime(2018, 1, 24, 3, 19, 33, 123000, tzinfo=UTC)
    assert (callback.sequence, callback.packet_id, callback.biz_type) == (None, None, "")
    assert callback.origin.recipient_app_id == "2882303761517000002"
    assert callback.origin.app_ids == ("2882303761517000001", "2882303761517000002")
    assert callback.origin.timestamp == "1516763973123"
    assert callback.origin.authentication is None


def test_an_offline_group_message_of_2018_is_a_callback() -> None:
    callback = parse(GROUP)
    assert callback.kind is Kind.OFFLINE_TOPIC_MSG
    assert callback.app_id == "2882303761517000001"
    assert callback.topic_id == "21351198708203520"
    assert callback.recipients == (Recipient("ben"), Recipient("carl"))
    assert callback.origin.recipient_app_id == "2882303761517000001"
    assert callback.origin.app_ids == ("2882303761517000001",)


@pytest.mark.parametrize("members", [PERSONAL, GROUP])
def test_the_later_members_are_read_where_they_are(members: Members) -> None:
    callback = parse(members | LATER)
    assert (callback.sequence, callback.packet_id, callback.biz_type) == ("154503794553568001", "abc-17", "TEXT")
    assert callback.origin.authentication == "c2VhbGVk"


@pytest.mark.parametrize(("kind", "members"), [("NORMAL_MSG", PERSONAL), ("NORMAL_TOPIC_MSG", GROUP)])
def test_an_instant_message_is_a_callback_that_is_not_offline(kind: str, members: Members) -> None:
    callback = parse(members | {"msgType": kind})
    assert callback.kind == kind
    assert not callback.kind.is_offline


@pytest.mark.parametrize("name", ["fromAppId", "toAppId", "timestamp", "sequence", "packetId", "bizType"])
def test_a_number_and_its_digits_are_the_same_in_a_message_to_one(name: str) -> None:
    assert parse(PERSONAL | {name: 9223372036854775807}) == parse(PERSONAL | {name: "9223372036854775807"})


@pytest.mark.parametrize("name", ["appId", "topicId", "timestamp", "sequence"])
def test_a_number_and_its_digits_are_the_same_in_a_message_to_a_group(name: str) -> None:
    assert parse(GROUP | {name: 18446744073709551615}) == parse(GROUP | {name: "18446744073709551615"})


def test_an_id_beyond_a_double_is_kept_to_the_last_digit() -> None:
    assert parse(GROUP | {"topicId": 9007199254740993}).topic_id == "9007199254740993"
    assert parse(PERSONAL | {"sequence": "007"}).sequence == "007"


@pytest.mark.parametrize("name", ["fromAppId", "timestamp", "sequence", "packetId", "bizType", "authentication"])
@pytest.mark.parametrize("nothing", [None, ""])
def test_what_may_be_absent_may_be_null_or_empty_too(name: str, nothing: str | None) -> None:
    assert parse(PERSONAL | {name: nothing}) == parse({n: v for n, v in PERSONAL.items() if n != name})


@pytest.mark.parametrize("sequence", [0, "0", "000"])
def test_a_sequence_that_was_never_set_is_absent(sequence: object) -> None:
    assert parse(PERSONAL | {"sequence": sequence}).sequence is None


def test_unknown_members_are_no_trouble() -> None:
    odd = {"huge": 10**3000, "nested": {"a": [{"b": None}]}, "": 1.5, "\ud800": "\ud800"}
    assert parse(PERSONAL | odd) == parse(PERSONAL)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (PERSONAL | {"msgType": None}, "msgType: expected text that is not empty, got null"),
        (PERSONAL | {"msgType": 5}, "msgType: expected text, got number"),
        (PERSONAL | {"msgType": ["OFFLINE_MSG"]}, "msgType: expected text, got array"),
        (PERSONAL | {"fromAccount": ""}, "fromAccount: expected text that is not empty, got string"),
        (PERSONAL | {"fromAccount": 17}, "fromAccount: expected text, got number"),
        (PERSONAL | {"toAppId": None}, "toAppId: expected text or a whole number, got null"),
        (PERSONAL | {"toAppId": True}, "toAppId: expected text or a whole number, got boolean"),
        (PERSONAL | {"toAppId": 1.0}, "toAppId: expected text or a whole number, got number"),
        (PERSONAL | {"toAppId": -1}, "toAppId: expected text or a whole number that is not negative, got number"),
        (PERSONAL | {"toAppId": 10**400}, "toAppId: expected text or a whole number, got number"),
        (PERSONAL | {"fromAppId": {}}, "fromAppId: expected text, got object"),
        (PERSONAL | {"timestamp": 1.5e12}, "timestamp: expected text or a whole number, got number"),
        (PERSONAL | {"sequence": False}, "sequence: expected text or a whole number, got boolean"),
        (PERSONAL | {"packetId": []}, "packetId: expected text, got array"),
        (PERSONAL | {"bizType": {}}, "bizType: expected text, got object"),
        (PERSONAL | {"authentication": 1}, "authentication: expected text, got number"),
        (PERSONAL | {"toAccount": ["ben"]}, "toAccount: expected text, got array"),
        (PERSONAL | {"toAccount": "b" * 1025}, "toAccount: expected text of at most 1024 characters, got string"),
        (PERSONAL | {"toAccount": "\ud800"}, "toAccount: expected text without lone surrogates, got string"),
        (PERSONAL | {"offlineResources": "web"}, "offlineResources: expected an array, got string"),
        (PERSONAL | {"offlineResources": ["web", 1]}, "offlineResources[1]: expected text, got number"),
        (PERSONAL | {"payload": 17}, "payload: expected base64 text, got number"),
        (PERSONAL | {"payload": {"type": "TEXT"}}, "payload: expected base64 text, got object"),
        (GROUP | {"appId": ""}, "appId: expected text or a whole number, got string"),
        (GROUP | {"topicId": None}, "topicId: expected text or a whole number, got null"),
        (GROUP | {"toAccounts": "ben,carl"}, "toAccounts: expected an array, got string"),
        (GROUP | {"toAccounts": ["ben", ["carl"]]}, "toAccounts[1]: expected text, got array"),
        (GROUP | {"offlineAccounts": {"ben": []}}, "offlineAccounts: expected an array, got object"),
        (GROUP | {"offlineAccounts": ["ben"]}, "offlineAccounts[0]: expected an object, got string"),
        (GROUP | {"offlineAccounts": [{"toAccount": 1}]}, "offlineAccounts[0].toAccount: expected text, got number"),
        (
            GROUP | {"offlineAccounts": [{"toAccount": "ben", "offlineResources": 1}]},
            "offlineAccounts[0].offlineResources: expected an array, got number",
        ),
    ],
)
def test_a_body_that_no_callback_can_be_is_refused_by_member_and_type(members: Members, message: str) -> None:
    assert str(refusal(members)) == message


@pytest.mark.parametrize("name", ["msgType", "fromAccount", "toAppId"])
def test_a_missing_member_is_named(name: str) -> None:
    error = refusal({n: v for n, v in PERSONAL.items() if n != name})
    assert error.field == name
    assert str(error).endswith("got nothing")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'"OFFLINE_MSG"',
        b"{",
        b"\xff\xfe{\x00}\x00",
        b'{"msgType": "\xff"}',
        b'{"msgType": NaN}',
        b'{"msgType": "OFFLINE_MSG", "sequence": -Infinity}',
        b"{'msgType': 'OFFLINE_MSG'}",
        b"[" * MAX_BODY,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"msgType":"X","a":' + b"[" * 64 + b"]" * 64 + b"}",
    ],
)
def test_what_is_no_json_object_is_a_bad_body(body: bytes) -> None:
    assert refusal(body).field == "body"


def test_sixty_four_levels_are_read() -> None:
    body = b'{"msgType":"X","a":' + b"[" * 63 + b"]" * 63 + b"}"
    assert isinstance(parse_callback(body), Ignored)


def test_a_refusal_carries_none_of_the_content() -> None:
    error = refusal(b'{"fromAccount": "secret words"')
    assert "secret" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_a_byte_order_mark_and_a_repeated_member_are_tolerated() -> None:
    body = b'\xef\xbb\xbf{"msgType":"PING",' + json.dumps(PERSONAL).encode()[1:]
    assert parse_callback(body) == parse(PERSONAL)


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("aGVsbG8=", b"hello"),
        ("aGVsbG8", b"hello"),
        (" aGVs\r\nbG8= ", b"hello"),
        ("_-8=", b"\xff\xef"),
        ("/+8=", b"\xff\xef"),
        ("", b""),
        (None, b""),
        ("hello there!", b"hello there!"),  # no base64: kept as it came
        ("aGVsb", b"aGVsb"),
        ("你好", "你好".encode()),
        ("\ud800", b"?"),
    ],
)
def test_a_payload_leaves_its_base64_and_is_never_lost(text: str | None, payload: bytes) -> None:
    assert parse(PERSONAL | {"payload": text}).payload == payload


def test_a_payload_is_shown_in_no_repr() -> None:
    assert "secret words" not in repr(parse(PERSONAL | {"payload": base64.b64encode(b"secret words").decode()}))


@pytest.mark.parametrize(
    ("members", "recipients"),
    [
        ({}, (Recipient("ben"),)),
        ({"offlineResources": None}, (Recipient("ben"),)),
        ({"offlineResources": []}, (Recipient("ben"),)),
        ({"offlineResources": ["web", "mi5", "web"]}, (Recipient("ben", ("web", "mi5")),)),
        ({"toAccount": "\x00 本,"}, (Recipient("\x00 本,"),)),
        ({"toAccount": ""}, ()),
        ({"toAccount": None, "offlineResources": ["web"]}, ()),
    ],
)
def test_the_reader_is_who_is_named_with_the_devices_that_missed_it(
    members: Members, recipients: tuple[Recipient, ...]
) -> None:
    assert parse(PERSONAL | members).recipients == recipients


@pytest.mark.parametrize(
    ("to_accounts", "offline_accounts", "recipients"),
    [
        (["ben", "carl", "ben", "", None], None, (Recipient("ben"), Recipient("carl"))),
        (None, None, ()),
        ([], [], ()),
        # an account without resources missed it on all of its devices
        (["ben", "carl"], [("carl", ["web"])], (Recipient("ben"), Recipient("carl", ("web",)))),
        (["ben"], [("carl", ["web"])], (Recipient("ben"), Recipient("carl", ("web",)))),
        (None, [("carl", None)], (Recipient("carl"),)),
        ([], [("carl", ["web"]), ("carl", ["mi5", "web"])], (Recipient("carl", ("web", "mi5")),)),
        ([], [("carl", ["web"]), ("carl", []), ("carl", ["mi5"])], (Recipient("carl"),)),
        ([], [("", ["web"]), (None, [])], ()),
    ],
)
def test_the_readers_are_all_who_are_named_in_either_list(
    to_accounts: list[object] | None,
    offline_accounts: list[tuple[str, list[str]]] | None,
    recipients: tuple[Recipient, ...],
) -> None:
    entries = (
        None if offline_accounts is None else [{"toAccount": a, "offlineResources": r} for a, r in offline_accounts]
    )
    assert parse(GROUP | {"toAccounts": to_accounts, "offlineAccounts": entries}).recipients == recipients


def test_ten_thousand_readers_are_taken_and_no_more() -> None:
    crowd = [f"account-{n}" for n in range(MAX_RECIPIENTS)]
    assert len(parse(GROUP | {"toAccounts": [*crowd, *crowd]}).recipients) == MAX_RECIPIENTS
    error = refusal(GROUP | {"toAccounts": crowd, "offlineAccounts": [{"toAccount": "one more"}]})
    assert str(error) == "toAccounts: expected at most 10000 recipients, got array"
    entries = [{"toAccount": account} for account in (*crowd, "one more")]
    assert refusal(GROUP | {"toAccounts": [], "offlineAccounts": entries}).field == "offlineAccounts"


@pytest.mark.parametrize(
    ("timestamp", "sent_at"),
    [
        ("1516763973000", datetime(2018, 1, 24, 3, 19, 33, tzinfo=UTC)),
        ("1516763973", datetime(2018, 1, 24, 3, 19, 33, tzinfo=UTC)),
        ("1516763973001", datetime(2018, 1, 24, 3, 19, 33, 1000, tzinfo=UTC)),
        ("99999999999", datetime(5138, 11, 16, 9, 46, 39, tzinfo=UTC)),  # the last that counts as seconds
        ("100000000000", datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC)),
        ("253402300799999", datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
        ("253402300800000", None),
        ("9" * 20, None),
        ("9" * 1000, None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("١٢٣", None),
        ("2018-01-24", None),
        ("0", None),  # never set
        ("", None),
        (None, None),
    ],
)
def test_a_timestamp_is_a_moment_where_it_can_be(timestamp: str | None, sent_at: datetime | None) -> None:
    callback = parse(PERSONAL | {"timestamp": timestamp})
    assert callback.sent_at == sent_at
    assert callback.origin.timestamp == (timestamp or None)


@pytest.mark.parametrize("kind", ["UCTOPIC_MSG", "offline_msg", "OFFLINE_RESOURCE", " OFFLINE_MSG"])
def test_another_kind_is_ignored_with_its_claim(kind: str) -> None:
    members = PERSONAL | LATER | {"msgType": kind, "payload": 1, "toAccount": {}, "fromAccount": None}
    ignored = parse_callback(json.dumps(members).encode())
    assert isinstance(ignored, Ignored)
    assert ignored.kind == kind
    assert ignored.origin == parse(PERSONAL | LATER).origin


@pytest.mark.parametrize(
    ("members", "recipient", "app_ids", "timestamp"),
    [
        ({}, None, (), None),
        ({"appId": 17, "timestamp": 1516763973}, "17", ("17",), "1516763973"),
        ({"appId": "17", "toAppId": "18"}, "18", ("18", "17"), None),
        ({"appId": [], "toAppId": 1.5, "fromAppId": -1, "timestamp": {}, "authentication": 1}, None, (), None),
        ({"appId": "\ud800", "fromAppId": "5", "authentication": "\ud800"}, None, ("5",), None),
    ],
)
def test_the_claim_of_an_unknown_kind_is_read_as_far_as_it_can_be(
    members: Members, recipient: str | None, app_ids: tuple[str, ...], timestamp: str | None
) -> None:
    ignored = parse_callback(json.dumps({"msgType": "UCTOPIC_MSG"} | members).encode())
    origin = ignored.origin
    assert (origin.recipient_app_id, origin.app_ids, origin.timestamp) == (recipient, app_ids, timestamp)
    assert origin.authentication is None


def test_an_endless_kind_is_cut() -> None:
    ignored = parse_callback(json.dumps({"msgType": "X" * 1000}).encode())
    assert isinstance(ignored, Ignored)
    assert ignored.kind == "X" * 64


def test_white_space_and_either_alphabet_are_base64() -> None:
    assert read_base64(" -_\n8") == read_base64("+/8=") == b"\xfb\xff"


@RELAXED
@given(st.integers(0, 10**19))
def test_milliseconds_come_from_any_digits(number: int) -> None:
    assert timestamp_ms(str(number)) == (number * 1000 if number < 10**11 else number)


# Chosen by hand: scalars of every kind that JSON and Python see differently, base64, control characters, a surrogate.
TEXTS = st.text(st.sampled_from("ab09_-+/= ,\x00\n\u202eé你😀\ud800"), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS


def json_values() -> st.SearchStrategy[object]:
    return SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(TEXTS, SCALARS | st.lists(SCALARS), max_size=3)


def callbacks() -> st.SearchStrategy[Members]:
    """Valid callbacks of all kinds with any members replaced by anything."""
    kinds = st.sampled_from([*Kind, "UCTOPIC_MSG"])
    names = st.sampled_from([*PERSONAL, *GROUP, *LATER, "offlineResources", "offlineAccounts"])
    entries = st.lists(
        st.fixed_dictionaries({}, optional={"toAccount": json_values(), "offlineResources": json_values()})
    )
    changes = st.dictionaries(names, json_values() | entries, max_size=3)
    return st.builds(
        lambda kind, later, odd: PERSONAL | GROUP | later | {"msgType": kind} | odd,
        kinds,
        st.sampled_from([{}, LATER]),
        changes,
    )


@st.composite
def mangled(draw: Callable[[st.SearchStrategy[Any]], Any]) -> bytes:
    """A callback with a stretch of its bytes replaced."""
    body = bytearray(json.dumps(draw(callbacks()), ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass"))
    start = draw(st.integers(0, len(body)))
    body[start : start + draw(st.integers(0, 20))] = draw(st.binary(max_size=20))
    return bytes(body)


@settings(RELAXED, max_examples=300)
@given(st.binary() | callbacks().map(lambda members: json.dumps(members).encode()) | mangled())
def test_any_bytes_are_a_callback_ignored_or_refused(body: bytes) -> None:
    with suppress(BadCallback):
        read = parse_callback(body)
        assert isinstance(read, Callback | Ignored)
        if isinstance(read, Callback):  # whatever passed can be named, compared and stored
            assert len(read.message_id) == len(read.callback_id) == 32
            for text in (read.app_id, read.from_account, read.biz_type, *(r.account for r in read.recipients)):
                text.encode()
