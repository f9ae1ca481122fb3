"""Every answer of our own is MIMC's envelope: {"code": <int, the HTTP status>, "message": "...", "data": null}.

The web SDK reads `code` alone and never the status, so an error without it would pass for a token.
"""

import json
import traceback
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from flask import Flask, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from proxy.errors import BadField, NotAllowed, NotFound, NotPossible, NotSignedIn, Refusal, StoreUnavailable
from proxy.web import current_notes
from proxy.web.access import add_log_context

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = structlog.get_logger()
_encode = json.JSONEncoder(separators=(",", ":")).encode  # `json.dumps` makes one for each call

# in every answer, for browsers: we serve no page, nothing of ours belongs in a frame, and no type is guessed
SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
)


class HttpRefusal(Refusal):
    """One of HTTP's own: a body that is too long, a caller who calls too often."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


def envelope(
    status: int, message: str = "success", data: object = None, headers: Mapping[str, str] | None = None
) -> Response:
    response = PlainAnswer(
        envelope_text(status, message, data), status, content_type="application/json", headers=SECURITY_HEADERS
    )
    if headers:
        response.headers.update(headers)
    return response


def envelope_text(status: int, message: str, data: object = None) -> str:
    """The body of an answer."""
    return _encode({"code": status, "message": message, "data": data}) + "\n"


class PlainAnswer(Response):
    """An answer with a body and no Location, sent as it is: Werkzeug would copy and check its headers once more."""

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "HEAD":
            return super().__call__(environ, start_response)
        start_response(self.status, self.headers.to_wsgi_list())
        return self.iter_encoded()


class FixedAnswer(Response):
    """An answer that is the same each time: made once, and not changed afterwards. For a route that takes no HEAD."""

    def __init__(self, of: Response) -> None:
        super().__init__(of.get_data(), of.status, of.headers)
        self._body = [self.get_data()]
        self._made = self.get_wsgi_headers({}).to_wsgi_list()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:  # noqa: ARG002  the signature is WSGI's
        start_response(self.status, self._made)
        return self._body


def answer_errors(app: Flask) -> None:
    """Whatever ends a request early is answered in the envelope, and never with the request's own content."""
    app.register_error_handler(Refusal, refused)
    app.register_error_handler(StoreUnavailable, lambda error: unavailable(error, current_notes().facts))
    app.register_error_handler(HTTPException, answer_http_error)
    app.register_error_handler(Exception, lambda error: unexpected(error, current_notes().facts))


def status_of(error: Refusal) -> int:
    """The HTTP status of a refusal."""
    match error:
        case HttpRefusal(status=status):
            return status
        case BadField():
            return 400
        case NotSignedIn():
            return 401
        case NotAllowed():
            return 403
        case NotFound():
            return 404
        case NotPossible():
            return 409
        case _:
            raise TypeError(f"no status for {type(error).__name__}")


def refused(error: Refusal) -> Response:
    headers = error.headers if isinstance(error, HttpRefusal) else {}
    status = status_of(error)
    if isinstance(error, BadField):
        add_log_context(reason=error.message)
    if status == 401:
        headers = {**headers, "WWW-Authenticate": "Bearer"}  # RFC 9110, 11.6.1: required with a 401
    return envelope(status, error.message, headers=headers)


def unavailable(error: StoreUnavailable, facts: dict[str, object]) -> Response:
    """`facts` are those of the request's line."""
    facts["store"] = str(error)
    return envelope(503, "the store is unavailable", headers={"Retry-After": str(error.retry_after_s)})


def answer_http_error(error: HTTPException) -> Response:
    """Flask's and Werkzeug's own; their descriptions may quote the request, so only the status is kept."""
    status = error.code or 500
    headers = {}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return envelope(status, HTTPStatus(status).phrase.lower(), headers=headers)


def unexpected(error: Exception, facts: dict[str, object]) -> Response:
    """A fault of ours; `facts` as above."""
    facts["error"] = type(error).__name__
    log.error("a request failed", error=type(error).__name__, trace=trace_without_values(error))
    return envelope(500, "internal server error")


def trace_without_values(error: BaseException) -> list[str]:
    """Where it happened. Messages of foreign errors quote what they choked on, so they stay out."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
