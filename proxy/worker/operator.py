"""The worker's own listener for the operator: /metrics, /healthz and /readyz, from a thread beside the event loop."""

import json
from collections.abc import Callable, Container, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog

from proxy.hosts import is_known_host

log = structlog.get_logger()
_OPEN_METRICS = "application/openmetrics-text"
Details = Callable[[], tuple[bool, dict[str, str]]]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """The operator's own requests are not logged."""


def serve_operator(
    bind: str,
    metrics: Callable[[], bytes],
    details: Details,
    hosts: Container[str] = (),
    open_metrics: Callable[[], bytes] | None = None,
) -> None:
    """Answer there; "" serves nothing. A taken port stops no delivery, it is logged.

    `hosts` are names under which it may be called, beside IP addresses and localhost. `open_metrics` is for callers
    that take that form.
    """
    if not bind:
        return
    host, _, port = bind.rpartition(":")
    try:
        app = operator_app(metrics, details, hosts, open_metrics)
        server = make_server(host.strip("[]"), int(port), app, _Server, handler_class=_SilentHandler)
    except OSError as error:
        log.error(
            "the operator's port of this worker is taken or not ours: set relay.operator_bind, each worker of a "
            "machine needs its own",
            bind=bind, error=type(error).__name__,
        )  # fmt: skip
        return
    Thread(target=server.serve_forever, name="operator", daemon=True).start()


def operator_app(
    metrics: Callable[[], bytes],
    details: Details,
    hosts: Container[str],
    open_metrics: Callable[[], bytes] | None = None,
) -> Callable[..., Iterable[bytes]]:
    """/healthz: the process lives. /readyz: it can do its work, with reasons; 503 where not. Bodies are envelopes."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, kind, body = HTTPStatus.OK, "application/json", b""
        match environ["PATH_INFO"]:
            case _ if not is_known_host(environ.get("HTTP_HOST"), hosts):
                status = HTTPStatus.MISDIRECTED_REQUEST
                body = _envelope(
                    status, "Host: is none of server.operator_hosts, no IP address and not localhost", None
                )
            case "/metrics" if open_metrics and _OPEN_METRICS in environ.get("HTTP_ACCEPT", ""):
                kind, body = f"{_OPEN_METRICS}; version=1.0.0; charset=utf-8", open_metrics()
            case "/metrics":
                kind, body = "text/plain; version=0.0.4; charset=utf-8", metrics()
            case "/healthz":
                body = _envelope(status, "ok", None)
            case "/readyz":
                is_ready, sentences = details()
                status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
                body = _envelope(status, "ready" if is_ready else "not ready", sentences)
            case _:
                status = HTTPStatus.NOT_FOUND
                body = _envelope(status, "not found", None)
        start_response(f"{status.value} {status.phrase}", [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    return app


def _envelope(status: HTTPStatus, message: str, data: object) -> bytes:
    return json.dumps({"code": status.value, "message": message, "data": data}, separators=(",", ":")).encode() + b"\n"
