"""Logs on stderr, one line for each event: JSON for machines, or text for people.

structlog makes the lines, `LogWriter` writes them: it loses a line rather than fail or hold up the work. Libraries'
records in the stdlib's logging come out in the same form from warning on, gunicorn's from info on. No caller should
hand a secret to a log. Should it happen, `redact` is the second protection: it masks values under telling keys, and
what looks like a secret within any text. Only `log_event` does without, for fields that hold none.
"""

import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, Literal

import structlog
from structlog.processors import ExceptionRenderer, TimeStamper
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from proxy.compact_json import compact_json
from proxy.errors import ProxyError
from proxy.log_writer import LogWriter
from proxy.text import printable

MASK = "***"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# In lower case without _ and -, as appKey, app_key and app-key are one.
_SECRET_KEYS = {
    "authorization", "proxyauthorization", "authentication", "bearer", "jwt", "cookie", "setcookie",
    "key", "apikey", "appkey", "privatekey", "signingkey", "securitykey", "miusersecuritykey", "p8",
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
    | (?P<api_key> \bak_[0-9a-f]{16,} )
    | (?P<path> /callbacks/[a-z]+/ | /3/device/ ) [^\s"'<>]+
    | (?P<login> \b[a-z][a-z0-9+.-]{1,15}:// ) [^\s/@"']*@
    | (?P<pem> -----BEGIN\ [A-Z\ ]+-----) (?: .*?-----END\ [A-Z\ ]+----- | .* )
    | (?P<hex> \b[0-9a-f]{64,}\b )
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_PLAIN = re.compile(r"[\w.-]{0,63}")  # ids, names and reasons: too short and too simple for most shapes
_KEPT = ("scheme", "pair", "path", "login")


# Names, ids and numbers of ours: neither users nor secrets can write into them
_SAFE_FIELDS = frozenset({
    "api_key_id", "api_key_name", "app", "call", "channel", "code",
    "kind", "result", "job_id", "message_id", "attempt", "jobs",
    "count", "ms", "status", "address", "auth", "backend", "limited_by", "limiter", "platform", "refused", "route",
    "upstream", "what",
})  # fmt: skip
# these are masked: users and providers write them
_FOREIGN_FIELDS = frozenset({"account", "method", "reason", "request_id"})
_FAST_FIELDS = _SAFE_FIELDS | _FOREIGN_FIELDS


@dataclass
class _Fast:
    """Where `log_event` writes; None: through structlog, as any other event."""

    write: Callable[[bytes], None] | None = None


_fast = _Fast()
log = structlog.get_logger()


def configure_logs(
    format: Literal["json", "console"] = "json",  # noqa: A002
    level: str = "info",
    *,
    on_lost: Callable[[int], None] = lambda _lines: None,
    forks: bool = False,
) -> None:
    """From now on everything is logged to stderr in this form; `level` bounds our own events and gunicorn's, not the
    other libraries'. `on_lost` gets the number of lines that stderr did not take. `forks`: this process will fork.
    """
    shared, last = _shared(format), _last(format)
    writer = LogWriter(2, on_lost, _lost_lines)
    if not forks:
        writer.start()
    structlog.configure(
        processors=[*shared, *last, _to_bytes],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_args: _LineLogger(writer.write),
        cache_logger_on_first_use=True,
    )
    _fast.write = writer.write if format == "json" and _LEVELS[level] <= logging.INFO else None
    _route_stdlib(writer.write, shared, last, _LEVELS[level])
    sys.excepthook = _tell_uncaught


def log_event(event: str, /, **facts: str | float | None) -> None:
    """Log at info level where each microsecond counts: only fields that need it are redacted, if all are known."""
    if _fast.write is None or not facts.keys() <= _FAST_FIELDS:
        log.info(event, **facts)
        return
    for name in _FOREIGN_FIELDS:
        if foreign := facts.get(name):
            facts[name] = _mask_short(str(foreign)) if name != "request_id" else mask(str(foreign))  # new each time
    _fast.write(_json_line({"event": event, **facts, "level": "info", "time": _now()}))


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The event without what is, or looks like, a secret."""
    return {key: _clean(key, value) for key, value in event.items()}


@lru_cache(maxsize=1024)
def _mask_short(text: str) -> str:
    return mask(text)


def mask(text: str) -> str:
    """The text with MASK for JWTs, bearers, API keys, `key=...`, secrets of URLs and logins, PEM keys and long hex."""
    if _PLAIN.fullmatch(text) and "eyj" not in (small := text.lower()) and "ak_" not in small:
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
    return [_escape_texts, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), timestamp_key="time")]


def _escape_texts(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """For eyes: a name must not write lines of its own. Traces have lines and hold no names."""
    return {
        key: printable(value) if isinstance(value, str) and key != "exception" else value
        for key, value in event.items()
    }


def _encode_json(event: Mapping[str, object]) -> str:
    return printable(compact_json(event))


def _to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return _encode_json(event)  # `redact` left nothing in it that JSON cannot say


def _to_bytes(_logger: WrappedLogger, _method: str, line: Any) -> bytes:
    return f"{line}\n".encode(errors="backslashreplace")


def _json_line(event: Mapping[str, object]) -> bytes:
    return _to_bytes(None, "", _encode_json(event))


def _lost_lines(count: int) -> bytes:
    return _json_line({"event": "log lines were lost", "lines": count, "level": "warning", "time": _now()})


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class _LineLogger:
    """What structlog hands the finished line to."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = write


class _LibraryHandler(logging.Handler):
    def __init__(self, write: Callable[[bytes], None], level: int, formatter: logging.Formatter) -> None:
        super().__init__(level)
        self.setFormatter(formatter)
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(_to_bytes(None, "", self.format(record)))
        except Exception:  # noqa: BLE001  a record whose text and arguments do not fit is the library's fault, not the work's
            self.handleError(record)


def _route_stdlib(write: Callable[[bytes], None], shared: list[Processor], last: list[Processor], level: int) -> None:
    """Libraries speak through handlers of ours. gunicorn gave its loggers handlers of its own, which printed URLs."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    root = logging.getLogger()
    root.handlers = [_LibraryHandler(write, logging.WARNING, formatter)]
    root.setLevel(logging.WARNING)
    for name in ("gunicorn", "gunicorn.error", "gunicorn.access", "werkzeug"):
        library = logging.getLogger(name)
        library.handlers = []
        library.propagate = True
    server = logging.getLogger("gunicorn.error")  # starts, reloads and ends of processes
    server.handlers = [_LibraryHandler(write, max(level, logging.INFO), formatter)]
    server.propagate = False
    logging.captureWarnings(True)
