"""The header Idempotency-Key: what a call with it is known by, and what a repeat is answered."""

import math
from datetime import timedelta

from flask import Response as WebResponse

from proxy.auth import Authenticated
from proxy.domain.api_keys import ApiKey
from proxy.domain.idempotency import (
    KEPT_FOR,
    MOST_CALLS_OF_A_USER,
    MOST_CHARACTERS,
    Answered,
    Call,
    Different,
    MayHaveBeenSent,
    Running,
    call_of,
    read_key,
)
from proxy.domain.limits import Budget
from proxy.domain.times import MS
from proxy.errors import BadRequest, StoreUnavailable
from proxy.web import current_request, current_services
from proxy.web.access import add_log_context
from proxy.web.envelope import SECURITY_HEADERS, PlainAnswer, envelope
from proxy.web.limits import Limited, count_uncounted, too_often

_NAME = "Idempotency-Key"
_SECOND_MS = timedelta(seconds=1) // MS


def call_asked(caller: Authenticated | ApiKey, section: str, body: bytes) -> Call | None:
    """The current request, as its key knows it; None: it shows none. Raises BadRequest for one that is none.

    The query counts as content. With and without its last slash a path is the same.
    """
    asked = current_request()
    header = asked.environ.get("HTTP_IDEMPOTENCY_KEY")
    if header is None:
        return None
    key = read_key(header)
    if key is None:
        raise BadRequest(_NAME, expected=f'one text of 1 to {MOST_CHARACTERS} characters, like "8e03978e"', got=...)
    who = f"user {caller.app_account}" if isinstance(caller, Authenticated) else f"key {caller.id}"
    content = asked.query_string + b"\n" + body
    return call_of(key, who, asked.method, asked.path.rstrip("/"), section, content)


def spend_key(account: str) -> None:
    """Counts a user's call with a key, which the store keeps for a day. Raises HttpRefusal 429."""
    budget = Budget("idempotency_keys_per_account", MOST_CALLS_OF_A_USER, KEPT_FOR // MS, account)
    try:
        exceeded = current_services().admission.spend([budget], None)
    except StoreUnavailable:
        count_uncounted(Limited.CLIENT)
        return
    if exceeded:
        raise too_often(Limited.CLIENT, exceeded)


def known_answer(known: Answered | Running | Different | MayHaveBeenSent) -> WebResponse:
    """What a repeat is answered: the first answer, or why there is none."""
    add_log_context(repeated=type(known).__name__)
    match known:
        case Answered(status, _, None):
            return envelope(status, "this was done and answered before; the answer was too long to keep")
        case Answered(status, headers, body):
            return _once_more(status, headers.get("content-type"), headers.get("content-encoding"), body or b"")
        case Running(wait_ms):
            wait_s = max(1, math.ceil(wait_ms / _SECOND_MS))
            return envelope(409, f"{_NAME}: the first call is under way", headers={"Retry-After": str(wait_s)})
        case Different():
            return envelope(422, f"{_NAME}: was used for another request; take a new key for each")
        case MayHaveBeenSent():
            return envelope(504, f"{_NAME}: the call may have been sent; look before you repeat it with another key")


def _once_more(status: int, content_type: str | None, content_encoding: str | None, body: bytes) -> WebResponse:
    response = PlainAnswer(body, status, SECURITY_HEADERS)
    del response.headers["Content-Type"]  # Werkzeug's own
    for name, value in (("Content-Type", content_type), ("Content-Encoding", content_encoding)):
        if value is not None:
            response.headers[name] = value
    return response
