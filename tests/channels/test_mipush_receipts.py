"""Xiaomi's receipts: how a push asks for them, and what they say."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.channels.mipush.receipts import ReceiptKey, ReceiptReader, ReceiptReaders, quota_in
from proxy.channels.mipush.wire import MipushWire
from proxy.domain.receipts import Delivery, DeliveryReceipt, QuotaUse
from proxy.errors import NotFound
from tests.channels.pushes import NOON, RELAXED, an_alert, mipush_settings, to_account

RECEIPT_SECRET = "receipts-0123456789"
ASKING: dict[str, Any] = {"receipts": "https://chat.example.com/push", "receipt_secret": RECEIPT_SECRET}
SETTINGS = mipush_settings(**ASKING)
ALERT = an_alert()
PARAM = ReceiptKey(SETTINGS, "main").param(ALERT.message_id, NOON)
LATER_MS = int(NOON.timestamp() * 1000) + 1500


def read(body: bytes, now: datetime = NOON, section: str = "main", **changes: Any) -> list[Any]:
    return list(ReceiptReader(mipush_settings(**{**ASKING, **changes}), section).read(body, now))


def posted(*receipts: object) -> bytes:
    return urlencode({"data": json.dumps({f"Xcm{n}": receipt for n, receipt in enumerate(receipts)})}).encode()


def receipt(kind: object = 1, **changes: object) -> dict[str, object]:
    return {"param": PARAM, "type": kind, "targets": "alice,bob", "timestamp": LATER_MS, **changes}


def test_a_push_asks_for_receipts_where_the_settings_name_an_address() -> None:
    def extras(wire: MipushWire) -> dict[str, str]:
        sent = parse_qs(wire.build([to_account(alert=ALERT)], "key=k", NOON).body.decode())
        return {name: value[0] for name, value in sent.items() if name.startswith("extra.callback")}

    assert extras(MipushWire(SETTINGS, section="main")) == {
        "extra.callback": f"https://chat.example.com/push/callbacks/mipush/{RECEIPT_SECRET}",
        "extra.callback.param": PARAM,
        "extra.callback.type": str(1 + 2 + 16 + 32 + 128 + 1024),
    }
    assert len(PARAM) <= 64
    assert extras(MipushWire(mipush_settings())) == {}
    assert RECEIPT_SECRET not in repr(SETTINGS)


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (1, Delivery.DELIVERED), (2, Delivery.CLICKED), (16, Delivery.INVALID_TARGET), (32, Delivery.BLOCKED_BY_USER),
        (64, Delivery.FILTERED), (128, Delivery.OVER_QUOTA), (1024, Delivery.EXPIRED), (512, Delivery.OTHER),
        ("1", Delivery.OTHER), (None, Delivery.OTHER), (True, Delivery.OTHER), ([], Delivery.OTHER),
    ],
)  # fmt: skip
def test_a_receipt_says_what_became_of_the_push_and_when(kind: object, what: Delivery) -> None:
    (said,) = read(posted(receipt(kind, barStatus="x", jobkey="k", unknown={})))
    assert isinstance(said, DeliveryReceipt)
    assert (said.app, said.channel, said.what, said.targets) == ("main", "mipush", what, ("alice", "bob"))
    assert said.by_account
    assert said.reference.message_id == ALERT.message_id
    assert said.latency == timedelta(seconds=1.5)


def test_form_and_bare_json_are_read_and_several_receipts_of_one_post() -> None:
    both = [receipt(1), receipt(16, targets="carol")]
    bare = json.dumps({"a": both[0], "b": both[1]}).encode()
    assert read(posted(*both)) == read(bare)
    assert [one.what for one in read(bare)] == [Delivery.DELIVERED, Delivery.INVALID_TARGET]


def test_a_receipt_over_quota_says_how_much_is_spent() -> None:
    said = read(posted(receipt(128, extra={"ack": "9500", "quota": "10000"})))
    assert said[1:] == [QuotaUse(9500, 10_000)]
    assert len(read(posted(receipt(128, extra={"ack": "many"})))) == 1


def test_the_provider_s_clock_never_makes_a_latency_under_zero() -> None:
    (said,) = read(posted(receipt(timestamp=1)))
    assert said.latency == timedelta(0)
    for unreadable in (None, "soon", -5, 0, 10**30, True, 1.5):
        (said,) = read(posted(receipt(timestamp=unreadable)))
        assert said.latency is None


@pytest.mark.parametrize(
    "changes",
    [
        {"param": None}, {"param": ""}, {"param": "x" * 52}, {"param": PARAM[:-1] + ("A" if PARAM[-1] != "A" else "B")},
        {"param": ReceiptKey(SETTINGS, "other").param(ALERT.message_id, NOON)},
        {"param": ReceiptKey(mipush_settings(app_secret="another"), "main").param(ALERT.message_id, NOON)},
        {"param": ReceiptKey(SETTINGS, "main").param(ALERT.message_id, NOON - timedelta(days=12))},
    ],
)  # fmt: skip
def test_what_is_about_no_push_of_ours_is_none(changes: dict[str, object]) -> None:
    assert read(posted(receipt(**changes))) == [None]
    assert read(posted("no object", 7)) == [None, None]


def test_which_message_and_when_cannot_be_changed_in_what_is_repeated() -> None:
    key = ReceiptKey(SETTINGS, "main")
    for place in range(52):
        other = PARAM[:place] + ("A" if PARAM[place] != "A" else "B") + PARAM[place + 1 :]
        assert key.read(other) is None


@pytest.mark.parametrize("body", [b"", b"data", b"x=1", b"data=%5B%5D", b"[]", b"{", b"data=7", b"\xff=\xff"])
def test_a_body_of_another_form_is_said_to_be_so(body: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        read(body)


@RELAXED
@given(st.binary(max_size=200) | st.builds(posted, st.recursive(st.none() | st.text(), st.lists)))
def test_any_bytes_are_receipts_or_a_value_error(body: bytes) -> None:
    with suppress(ValueError):
        assert all(one is None or isinstance(one, DeliveryReceipt | QuotaUse) for one in read(body))


def test_a_secret_leads_to_its_section_alone() -> None:
    from tests.web.world import app_section, mipush_section, other_section, settings  # noqa: PLC0415

    other = mipush_section(**{**ASKING, "receipt_secret": "another-0123456789"})
    apps = {"main": app_section(mipush=mipush_section(**ASKING)), "other": other_section(mipush=other)}
    readers = ReceiptReaders(settings(apps).apps)
    assert readers.admit(RECEIPT_SECRET).section == "main"
    assert readers.admit("another-0123456789").section == "other"
    with pytest.raises(NotFound):
        readers.admit("a-third-0123456789")
    apps["other"] = other_section(mipush=mipush_section(**ASKING))
    with pytest.raises(ValidationError, match="is also that of main"):
        settings(apps)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"receipts": "http://chat.example.com"}, "https"), ({"receipt_secret": None}, "required with receipts"),
        ({"receipts": ""}, "required with receipt_secret"), ({"receipt_secret": "short"}, "16"),
        ({"receipts": "https://" + "a" * 200}, "200"),
    ],
)  # fmt: skip
def test_settings_for_receipts_fit_together(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        mipush_settings(**{**ASKING, **changes})
    assert mipush_settings(receipts="http://127.0.0.1:8080/", receipt_secret=RECEIPT_SECRET).receipts.endswith("8080")


@pytest.mark.parametrize(
    ("data", "use"),
    [
        ({"day_quota": "1000", "day_acked": "800"}, QuotaUse(800, 1000)),
        ({"day_quota": 10, "day_acked": 0}, QuotaUse(0, 10)),
        ({"day_quota": "0", "day_acked": "0"}, None), ({"day_quota": "-1", "day_acked": "5"}, None),
        ({}, None), (None, None),
        ({"day_quota": "9" * 5000, "day_acked": "5"}, None),
    ],
)  # fmt: skip
def test_an_answer_says_how_much_of_the_day_s_quota_is_spent(data: object, use: QuotaUse | None) -> None:
    assert quota_in(json.dumps({"code": 0, "data": data}).encode()) == use
    assert quota_in(b"<html>") is None


def test_a_repeat_of_a_push_is_about_the_same_message() -> None:
    push = to_account(alert=ALERT)
    again = replace(push, job=replace(push.job, attempt=3))
    key = ReceiptKey(SETTINGS, "main")
    for one, sent in ((push, NOON), (again, NOON + timedelta(hours=1))):
        body = MipushWire(SETTINGS, section="main").build([one], "key=k", sent).body.decode()
        read_again = key.read(parse_qs(body)["extra.callback.param"][0])
        assert read_again is not None
        assert (read_again.message_id, read_again.sent_at) == (ALERT.message_id, sent.astimezone(UTC))
