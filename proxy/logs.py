"""Logs on stderr, one line for each event: JSON for machines, or for eyes.

structlog writes bytes itself (10 us a line; through the stdlib it takes 38); what libraries tell the stdlib's logging
comes out in the same form from warning on. Nobody should hand a secret to a log. Should it happen, `redact` is the
second belt: it masks values under telling keys, and whatever looks like a secret within any text.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import TracebackType
from typing import Any, Literal

import structlog
from structlog.processors import ExceptionRenderer, TimeStamper
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from proxy.errors import ProxyError

MASK = "***"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# In lower case without _ and -, as appKey, app_key and app-key are one.
_SECRET_KEYS = {
    "authorization", "proxyauthorization", "authentication", "bearer", "jwt", "cookie", "setcookie",
    "key", "appkey", "privatekey", "signingkey", "securitykey", "miusersecuritykey", "p8",
    "regid", "registrationid", "registrationids", "storeurl",
    "payload", "body", "rawbody", "text", "words", "title", "description", "content",
}  # fmt: skip
_SECRET_ENDINGS = ("secret", "token", "tokens", "password", "passwd", "cookie")
_SHAPES = re.compile(
    r"""
      (?P<jwt> \beyJ[\w-]{6,} (?:\.[\w-]*){0,4} )
    | (?P<scheme> \b(?:bearer|basic)\s+ ) [^\s"',;<>]+
    | (?P<pair> ["']?\b(?: \w*(?:secret|token|password|authorization) | (?:app|private|security)?_?key
               | \w*securitykey | reg_?id | registration_?id )["']? \s*[=:]\s* (?:(?:bearer|basic|key=)\s*)? )
      (?: "[^"]*" | '[^']*' | [^\s"'&,;<>)}\]]+ )
    | (?P<path> /callbacks/[a-z]+/ | /3/device/ ) [^\s"'<>]+
    | (?P<login> \b[a-z][a-z0-9+.-]{1,15}:// ) [^\s/@"']*@
    | (?P<pem> -----BEGIN\ [A-Z\ ]+-----) (?: .*?-----END\ [A-Z\ ]+----- | .* )
    | (?P<hex> \b[0-9a-f]{64,}\b )
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_PLAIN = re.compile(r"[\w.-]{0,63}")  # ids, names and reasons: too short and too simple for most shapes
_KEPT = ("scheme", "pair", "path", "login")


def configure_logs(format: Literal["json", "console"] = "json", level: str = "info") -> None:  # noqa: A002
    """From now on everything is logged to stderr in this form; `level` bounds our own events, not the libraries'."""
    shared = _shared(format)
    last = _last(format)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *shared, *last, _to_bytes],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    _route_stdlib(shared, last)
    sys.excepthook = _tell_uncaught


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The event without what is, or looks like, a secret."""
    return {key: _clean(key, value) for key, value in event.items()}


def mask(text: str) -> str:
    """The text with MASK for JWTs, bearers, `key=...`, secrets of URLs and logins, PEM keys and long hex."""
    if _PLAIN.fullmatch(text) and "eyj" not in text.lower():
        return text
    return _SHAPES.sub(_hidden, text)


def _hidden(found: re.Match[str]) -> str:
    kind = found.lastgroup or ""
    return (found[kind] if kind in _KEPT else "") + MASK + ("@" if kind == "login" else "")


def _clean(key: str, value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if _names_a_secret(key):
        return MASK
    match value:
        case str():
            return mask(value)
        case bytes():
            return f"{len(value)} bytes"
        case list() | tuple() | set() | frozenset():
            return [_clean("", item) for item in value]
        case Mapping():
            return {mask(str(inner)): _clean(str(inner), item) for inner, item in value.items()}
        case _:
            return mask(str(value))


@lru_cache(maxsize=4096)
def _names_a_secret(key: str) -> bool:
    bare = key.replace("_", "").replace("-", "").lower()
    return bare in _SECRET_KEYS or bare.endswith(_SECRET_ENDINGS)


def _shared(format: str) -> list[Processor]:  # noqa: A002
    return [
        ExceptionRenderer(_tell_exception if format == "json" else _print_exception),
        redact,
        structlog.processors.add_log_level,
        TimeStamper(fmt="iso", utc=True, key="time"),
    ]


def _tell_exception(exc_info: ExcInfo) -> list[dict[str, Any]]:
    """The error, then what it came of. No local variables: they hold what users wrote."""
    return [
        {
            "exc_type": type(error).__name__,
            "exc_value": _message(error),
            "frames": [
                {"filename": frame.filename, "lineno": frame.lineno, "name": frame.name}
                for frame in traceback.extract_tb(error.__traceback__)
            ],
        }
        for error in _chain(exc_info[1])
    ]


def _print_exception(exc_info: ExcInfo) -> str:
    parts = [
        "".join([*traceback.format_tb(error.__traceback__), f"{type(error).__name__}: {_message(error)}"])
        for error in _chain(exc_info[1])
    ]
    return "\nwhich came of\n".join(parts)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _chain(inner)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _message(error: BaseException) -> str:
    """Ours name no content and the system's know none; those of others quote what they choked on."""
    return str(error) if isinstance(error, ProxyError | OSError) else MASK


def _tell_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    structlog.get_logger().critical("ended by an error", exc_info=(kind, error, trace))


def _last(format: str) -> list[Processor]:  # noqa: A002
    if format == "json":
        return [_to_json]
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), timestamp_key="time")]


_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return _encode_json(event)  # `redact` left nothing in it that JSON cannot say


def _to_bytes(_logger: WrappedLogger, _method: str, line: Any) -> bytes:
    return str(line).encode("utf-8", "backslashreplace")


def _route_stdlib(shared: list[Processor], last: list[Processor]) -> None:
    """Libraries speak through one handler. gunicorn gave its loggers handlers of their own, which printed URLs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.contextvars.merge_contextvars, structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in ("gunicorn", "gunicorn.error", "gunicorn.access", "werkzeug"):
        library = logging.getLogger(name)
        library.handlers = []
        library.propagate = True
    logging.captureWarnings(True)
