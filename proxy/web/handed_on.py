"""MIMC's answer becomes ours: status, content type and bytes as they are; and what we say where there is none."""

import math

from flask import Response as WebResponse

from proxy.domain.transfers import Paused, Response, TransportFailure
from proxy.mimc.connection import TIMED_OUT
from proxy.web.access import add_log_context
from proxy.web.envelope import SECURITY_HEADERS, PlainAnswer, envelope

_PASSED_ON = ("Content-Type", "Content-Encoding")


def handed_on(answer: Response | TransportFailure | Paused, who: str, *, once: bool = False) -> WebResponse:
    """`who` did not answer, where nobody did. `once`: what may have been done must not be asked for again."""
    match answer:
        case Response():
            return _as_it_is(answer)
        case TransportFailure(reason):
            add_log_context(upstream=reason)
            if once and answer.sent:
                return envelope(504, f"{who}: {reason}; the call may have been carried out, look before it is repeated")
            return envelope(504 if reason == TIMED_OUT else 502, f"{who}: {reason}")
        case Paused(wait_s):
            add_log_context(upstream="paused")
            retry_after = {"Retry-After": str(max(1, math.ceil(wait_s)))}
            return envelope(503, f"{who} gave no answers lately", headers=retry_after)


def status_of(answer: Response | TransportFailure | Paused) -> int | str:
    """For a log line."""
    match answer:
        case Response(status):
            return status
        case TransportFailure(reason):
            return reason
        case Paused():
            return "paused"


def _as_it_is(answer: Response) -> WebResponse:
    theirs = [(name, value) for name in _PASSED_ON if (value := answer.headers.get(name.lower())) is not None]
    response = PlainAnswer(answer.body, answer.status, [*theirs, *SECURITY_HEADERS])
    if "content-type" not in answer.headers:
        del response.headers["Content-Type"]  # Werkzeug's own
    return response
