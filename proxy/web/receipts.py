"""A provider's receipts in: the sender is known by the path's secret, each receipt by the MAC that it repeats.

Xiaomi posts about once a second what happened since, and once only: it is counted and answered at once, and its
consequences follow in the background (receiving.py). Receipts say nothing that a later push does not say again, so that
what is lost with a process, or by a store that is away, does no harm.
"""

from flask import Blueprint, Response

from proxy.channels.mipush.receipts import ReceiptReader, ReceiptReaders
from proxy.domain.receipts import Delivery, DeliveryReceipt, QuotaUse
from proxy.errors import BadRequest, NotFound
from proxy.logs import log_event
from proxy.metrics import delivery_seconds, receipts_total
from proxy.mimc.wire import MAX_BODY
from proxy.web import current_notes, current_request, current_services
from proxy.web.body import read_body
from proxy.web.callers import Caller, require
from proxy.web.envelope import envelope
from proxy.web.limits import Limited, count_address
from proxy.web.services import ReceiptServices

bp = Blueprint("receipts", __name__)


@bp.post("/callbacks/mipush/<url_secret>")
@require(Caller.SENDER, Limited.WRONG_SECRET)
def receive_receipts(url_secret: str) -> Response:
    """Answer 200 for whatever has their form: types that we do not know, repeats, and what is not about our pushes."""
    services, facts = current_services(), current_notes().facts
    reader = _admit(services.receipts.readers, url_secret)
    facts["app"] = reader.section
    count, foreign = 0, 0
    try:
        for one in reader.read(read_body(current_request().environ, MAX_BODY), services.store_now()):
            count += 1
            if one is None:
                foreign += 1
            elif isinstance(one, QuotaUse):
                services.receipts.quota.used(reader.section, one)
            else:
                _take(services.receipts, one)
    except ValueError:
        receipts_total.labels(reader.section, "mipush", "unreadable").inc()
        raise BadRequest("body", expected="a form with data, or the JSON of it", got=b"") from None
    if foreign:
        receipts_total.labels(reader.section, "mipush", "not ours").inc(foreign)
    facts["receipts"], facts["foreign"] = count, foreign
    return envelope(200)


def _admit(readers: ReceiptReaders, url_secret: str) -> ReceiptReader:
    """Strangers alone are counted. Raises NotFound, or HttpRefusal 429."""
    try:
        return readers.admit(url_secret)
    except NotFound:
        count_address(Limited.WRONG_SECRET)
        raise


def _take(receipts: ReceiptServices, receipt: DeliveryReceipt) -> None:
    receipts_total.labels(receipt.app, receipt.channel, receipt.what).inc(max(1, len(receipt.targets)))
    if receipt.what is Delivery.DELIVERED and receipt.latency is not None:
        delivery_seconds.labels(receipt.channel).observe(receipt.latency.total_seconds())
    log_event(
        "push receipt", app=receipt.app, channel=receipt.channel, what=receipt.what,
        message_id=receipt.reference.message_id, targets=len(receipt.targets),
    )  # fmt: skip
    receipts.waiting.put(receipt)
