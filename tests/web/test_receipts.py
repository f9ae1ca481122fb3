"""Receipts in: who may post, what is counted, what is handed on, and that nothing waits for the store."""

import json
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from structlog.testing import capture_logs

from proxy.channels.mipush.receipts import ReceiptKey
from proxy.domain.callbacks import digest
from proxy.domain.receipts import Delivery, DeliveryReceipt, QuotaUse, ReceiptReference
from proxy.errors import StoreUnavailable
from proxy.metrics import WEB
from proxy.settings import MipushSettings
from proxy.web.receiving import WaitingReceipts
from tests.web.world import NOW, URL_SECRET, World, app_section, mipush_section, settings

SECRET = "receipts-0123456789"
PATH = f"/callbacks/mipush/{SECRET}"
MIPUSH = mipush_section(receipts="https://chat.example.com", receipt_secret=SECRET)
MESSAGE = digest("message", "7")
PARAM = ReceiptKey(MipushSettings.model_validate(MIPUSH), "main").param(MESSAGE, NOW - timedelta(seconds=3))
NOW_MS = int(NOW.timestamp() * 1000)


def world() -> World:
    return World(settings({"main": app_section(mipush=MIPUSH)}))


def form(*receipts: dict[str, object]) -> dict[str, str]:
    return {"data": json.dumps({f"Xcm{n}": receipt for n, receipt in enumerate(receipts)})}


def receipt(kind: int = 1, targets: str = "reg1,reg2", **changes: object) -> dict[str, object]:
    return {"param": PARAM, "type": kind, "targets": targets, "timestamp": NOW_MS, **changes}


def counted(what: str) -> float:
    labels = {"app": "main", "channel": "mipush", "what": what}
    return WEB.get_sample_value("app_proxy_receipts_total", labels) or 0.0


def delivered() -> tuple[float, float]:
    names = ("app_proxy_delivery_seconds_count", "app_proxy_delivery_seconds_sum")
    count, total = (WEB.get_sample_value(name, {"channel": "mipush"}) or 0.0 for name in names)
    return count, total


def handed_on(it: World) -> list[tuple[Delivery, tuple[str, ...]]]:
    it.services.receipts.waiting.look()
    return [(one.what, one.targets) for one in it.receipts]


def test_receipts_are_counted_by_target_and_handed_on_once_a_round() -> None:
    it, before, (count, total) = world(), counted("delivered"), delivered()
    answer = it.client.post(PATH, data=form(receipt(1), receipt(16, "reg3")))
    assert (answer.status_code, answer.json) == (200, {"code": 200, "message": "success", "data": None})
    assert counted("delivered") == before + 2
    assert delivered() == (count + 1, total + 3)
    assert it.receipts == []  # nothing waits for the store
    assert handed_on(it) == [(Delivery.DELIVERED, ("reg1", "reg2")), (Delivery.INVALID_TARGET, ("reg3",))]


def test_bare_json_is_taken_and_a_repeat_and_types_that_nobody_knows_do_no_harm() -> None:
    it, before = world(), counted("other")
    body = json.dumps({"a": receipt(16), "b": receipt(4096)})
    for _ in range(2):
        assert it.client.post(PATH, data=body, content_type="application/json").status_code == 200
    assert counted("other") == before + 4
    assert [what for what, _ in handed_on(it)] == [Delivery.INVALID_TARGET, Delivery.OTHER]


def test_what_is_not_about_our_pushes_is_counted_and_nothing_follows() -> None:
    it, before = world(), counted("not ours")
    forged = receipt(16, "reg1", param="A" * 52)
    assert it.client.post(PATH, data=form(forged, receipt(16, param=None))).status_code == 200
    assert counted("not ours") == before + 2
    assert handed_on(it) == []


def test_quota_in_a_receipt_is_heard() -> None:
    it = world()
    it.client.post(PATH, data=form(receipt(128, extra={"ack": "81", "quota": "100"})))
    assert it.quota == it.quota_warnings == [("main", QuotaUse(81, 100))]
    it.client.post(PATH, data=form(receipt(128, extra={"ack": "82", "quota": "100"})))
    assert len(it.quota_warnings) == 1
    for spent in ("1", "80"):  # another day
        it.client.post(PATH, data=form(receipt(128, extra={"ack": spent, "quota": "100"})))
    assert len(it.quota_warnings) == 2


@pytest.mark.parametrize("path", ["/callbacks/mipush/wrong-0123456789", f"/callbacks/mipush/{URL_SECRET}"])
def test_only_who_knows_the_receipts_own_secret_is_heard_and_others_are_limited(path: str) -> None:
    it = world()
    assert it.client.post(path, data=form(receipt())).status_code == 404
    it.admission.spent["wrong_secret_per_address", "127.0.0.1"] = 5
    assert it.client.post(path, data=form(receipt())).status_code == 429
    assert it.client.post(PATH, data=form(receipt())).status_code == 200


def test_without_the_setting_there_is_no_such_path() -> None:
    assert World(settings({"main": app_section(mipush=mipush_section())})).client.post(PATH).status_code == 404
    assert world().client.get(PATH).status_code == 405


@pytest.mark.parametrize(("body", "status"), [(b"", 400), (b"data=%5B", 400), (b"[]", 400), (b"x" * (1 << 20), 400)])
def test_a_body_of_another_form_is_answered_400(body: bytes, status: int) -> None:
    assert world().client.post(PATH, data=body).status_code == status
    assert world().client.post(PATH, data=b"x" * ((1 << 20) + 1)).status_code == 413


def test_no_target_and_no_secret_reaches_the_log() -> None:
    it = world()
    with capture_logs() as lines:
        it.client.post(PATH, data=urlencode(form(receipt(1, "reg-canary"))))
        it.client.post(PATH, data=b"reg-canary")
    told = [line for line in lines if line["event"] == "push receipt"]
    assert [(line["what"], line["message_id"], line["targets"]) for line in told] in ([], [("delivered", MESSAGE, 1)])
    assert not [line for line in lines if any(word in str(line) for word in ("reg-canary", SECRET, PARAM))]


def test_too_many_at_once_and_a_store_that_is_away_are_counted() -> None:
    def lost(reason: str) -> float:
        return WEB.get_sample_value("app_proxy_receipts_dropped_total", {"reason": reason}) or 0.0

    def away(receipts: object) -> None:
        raise StoreUnavailable("the store did not answer")

    many, unserved = lost("too many"), lost("store away")
    waiting = WaitingReceipts(away, most=2)
    for n in range(3):
        reference = ReceiptReference(digest("message", str(n)), NOW)
        waiting.put(DeliveryReceipt("main", "mipush", Delivery.INVALID_TARGET, reference, ("r",), False, None))
    waiting.look()
    assert (lost("too many"), lost("store away")) == (many + 1, unserved + 2)
    waiting.look()  # nothing is tried twice
    assert lost("store away") == unserved + 2


def test_the_thread_outlives_whatever_happens() -> None:
    def broken(receipts: object) -> None:
        raise RuntimeError

    waiting = WaitingReceipts(broken)
    rounds = iter([False, False, True])
    reference = ReceiptReference(MESSAGE, NOW)
    waiting.put(DeliveryReceipt("main", "mipush", Delivery.CLICKED, reference, ("r",), False, None))
    with capture_logs() as lines:
        waiting.go_on(lambda _: next(rounds))
    assert [line["event"] for line in lines] == ["receipts were not looked after"]
