"""Faults of the wire itself, the same for every emulator."""

import time
from collections.abc import Collection, MutableMapping
from typing import Any

from flask import Response

from proxy.emulators.control import Fault, FaultBook
from proxy.emulators.server import Ending, end_connection, is_kept_connection

_SILENCE_MS = 600_000
_KEPT_ONLY = "close_kept"
_LOST_ANSWERS = {"close_after": Ending.CLOSE_AFTER, "truncated": Ending.TRUNCATED, "reset_after": Ending.RESET}

WIRE_EFFECTS = frozenset({
    "silence",  # no answer for `delay_ms` (ten minutes), then closed
    "delay",  # the ordinary answer, `delay_ms` late
    "reset", "close", "close_after", "truncated", "not_http",  # see server.Ending
    "reset_after", "silence_after",  # the request is carried out, but its answer is lost
    _KEPT_ONLY,  # as close, but only where the client reuses a connection; the first request on each is answered
    "raw",  # `body` with `status` (200) and `content_type` (application/json), byte for byte
})  # fmt: skip


def take_fault(
    faults: FaultBook, environ: MutableMapping[str, Any], targets: Collection[str], effects: Collection[str]
) -> Fault | None:
    """The fault that hits this request, if any."""
    possible = effects if is_kept_connection(environ) else set(effects) - {_KEPT_ONLY}
    return faults.take(targets, possible)


def apply_wire_fault(fault: Fault, environ: MutableMapping[str, Any]) -> Response | None:
    """The answer under a fault of WIRE_EFFECTS; None if the ordinary answer goes out."""
    silence_s = (fault.delay_ms or _SILENCE_MS) / 1000
    match fault.effect:
        case "delay":
            time.sleep((fault.delay_ms or 0) / 1000)
            return None
        case "close_after" | "truncated" | "reset_after":
            end_connection(environ, _LOST_ANSWERS[fault.effect])
            return None
        case "silence_after":
            end_connection(environ, Ending.SILENCE, silence_s)
            return None
        case "raw":
            body = (fault.body or "").encode()
            return Response(body, status=fault.status or 200, content_type=fault.content_type or "application/json")
        case "close_kept":
            end_connection(environ, Ending.CLOSE)
        case _:
            end_connection(environ, Ending(fault.effect), silence_s)
    return Response()
