"""MIMC's callbacks in: who may post, is it well formed, one round trip to the store, then 200.

While the store is away an append to this machine's disk takes the place of the round trip, where that is set up.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial

from flask import Blueprint, Response

from proxy.domain.callbacks import Callback, Ignored, Receipt
from proxy.domain.offline_messages import is_from_the_future
from proxy.errors import NotAllowed, NotFound, Refusal, SpoolRefused, StoreUnavailable
from proxy.metrics import callbacks_from_the_future_total, callbacks_total, spool_failures_total, spooled_total
from proxy.mimc.senders import Sender, Senders
from proxy.mimc.wire import MAX_BODY, parse_callback
from proxy.settings.fields import Network
from proxy.usecases.accept_callback import Acceptance, acceptance_of, judge_callback
from proxy.web import current_notes, current_request, current_services
from proxy.web.access import add_log_context
from proxy.web.addresses import client_address, is_within
from proxy.web.body import read_body
from proxy.web.callers import Caller, require
from proxy.web.envelope import FixedAnswer, envelope, unavailable, unexpected
from proxy.web.limits import Limited, count_address
from proxy.web.together import TOGETHER, LaterAnswer, Together

bp = Blueprint("callbacks", __name__)

_counter = cache(callbacks_total.labels)  # the library's look-up takes a lock and makes texts
# made once: building a Response costs more than all the checks together
_TAKEN = FixedAnswer(envelope(200, data={"duplicate": False}))
_KNOWN = FixedAnswer(envelope(200, data={"duplicate": True}))


@bp.post("/callbacks/mimc/<url_secret>")
@require(Caller.SENDER, Limited.WRONG_SECRET)
def receive_callback(url_secret: str) -> Response:
    """Answer 200 only once the callback is in the stream or on the disk: MIMC repeats anything else, three times."""
    services, facts, kind = current_services(), current_notes().facts, "other"
    try:
        _require_network(services.settings.callbacks.allowed_networks)
        sender = _admit(services.senders, url_secret)
        facts["app"] = sender.section
        body = read_body(current_request().environ, MAX_BODY)
        callback = parse_callback(body)
        kind = _label(callback)
        services.senders.check(sender, callback.origin)
        now = services.store_now()
        judged = judge_callback(
            callback,
            now=now,
            second_clock=services.second_clock,
            dedupe_ttl=services.settings.relay.dedupe_ttl,
            reading=services.withdrawing.get(callback.app_id) if isinstance(callback, Callback) else None,
        )
        if isinstance(callback, Callback) and is_from_the_future(callback, now):
            callbacks_from_the_future_total.inc()
            facts["timestamp"] = "in the future"
        accepted = Acceptance.ACCEPTED
        if services.copying is not None:
            before, judged = judged, services.copying.with_copies(
                judged, callback, body, sender.app_id, now=now, second_clock=services.second_clock,
                dedupe_ttl=services.settings.relay.dedupe_ttl,
            )  # fmt: skip
            accepted = before if isinstance(before, Acceptance) else accepted
    except Refusal as error:
        _count(facts, kind, "refused" if isinstance(error, NotAllowed | NotFound) else "bad")
        raise
    if isinstance(judged, Acceptance):
        _count(facts, kind, judged)
        return _TAKEN
    together = current_request().environ.get(TOGETHER) or Together()
    return LaterAnswer(partial(_conclude, facts, kind, together.put(judged, services.inbox), accepted))


def _conclude(facts: dict[str, object], kind: str, receipt: Callable[[], Receipt], accepted: Acceptance) -> Response:
    """`accepted`: what it counts as where it was stored; one for webhooks alone is still an instant one."""
    try:
        acceptance = acceptance_of(receipt(), accepted)
    except StoreUnavailable as error:
        if isinstance(error, SpoolRefused):
            spool_failures_total.labels(error.reason).inc()
        _count(facts, kind, "unavailable")
        return unavailable(error, facts)
    except Exception as error:  # noqa: BLE001  a fault of ours, as Flask would see it
        return unexpected(error, facts)
    if acceptance is Acceptance.SPOOLED:
        spooled_total.inc()
    _count(facts, kind, acceptance)
    return _KNOWN if acceptance is Acceptance.DUPLICATE else _TAKEN


def _require_network(allowed: Sequence[Network | str]) -> None:
    """Raises NotFound, as for a path that does not exist."""
    if allowed and not is_within(client_address(), allowed):
        add_log_context(refused="network")
        raise NotFound("not found")


def _admit(senders: Senders, url_secret: str) -> Sender:
    """Strangers alone are counted. Raises NotFound, or HttpRefusal 429."""
    try:
        return senders.admit(url_secret)
    except NotFound:
        count_address(Limited.WRONG_SECRET)
        raise


def _label(callback: Callback | Ignored) -> str:
    """A kind fit for a label: an unknown one is text of theirs."""
    if isinstance(callback, Callback):
        return callback.kind
    return callback.kind if callback.kind == "UCTOPIC_MSG" else "other"


def _count(facts: dict[str, object], kind: str, result: str) -> None:
    facts["kind"], facts["result"] = str(kind), str(result)
    _counter(kind, result).inc()
