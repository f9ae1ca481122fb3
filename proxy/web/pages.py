"""Answers that the server itself gives, where no application has seen the request."""

from collections.abc import Iterable
from http import HTTPStatus

from gunicorn.http import errors  # type: ignore[import-untyped]  # gunicorn has no types

from proxy.web.collecting import BodyTooLong
from proxy.web.envelope import SECURITY_HEADERS, envelope_text

_STATUS = {
    BodyTooLong: 413,
    errors.LimitRequestLine: 414,
    errors.ExpectationFailed: 417,
    errors.LimitRequestHeaders: 431,
    errors.UnsupportedTransferCoding: 501,
}


def status_of(exc: BaseException) -> int:
    """What the caller did wrong, or 500."""
    for kind, status in _STATUS.items():
        if isinstance(exc, kind):
            return status
    ours = errors.InvalidResponseHeader | errors.InvalidResponseHeaderName | errors.ConfigurationProblem
    return 400 if isinstance(exc, errors.ParseException) and not isinstance(exc, ours) else 500


def page(status: int, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """A whole HTTP/1.1 answer; the connection ends with it."""
    phrase = HTTPStatus(status).phrase
    body = envelope_text(status, phrase.lower())
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
    )
    head += "".join(f"{name}: {value}\r\n" for name, value in (*SECURITY_HEADERS, *headers)) + "\r\n"
    return (head + body).encode()
