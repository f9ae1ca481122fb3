"""The worker's own listener, over a real socket."""

import socket
from collections.abc import MutableMapping
from typing import Any

import pytest
import requests

from proxy.worker.operator import serve_operator

State = tuple[bool, dict[str, str]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(details: State = (True, {"worker": "works"})) -> str:
    """An operator's listener that lasts until the tests end; returns its URL."""
    bind = f"127.0.0.1:{free_port()}"
    serve_operator(bind, lambda: b"app_proxy_jobs_settled_total 7.0\n", lambda: details)
    return f"http://{bind}"


def test_metrics_are_the_text_that_prometheus_reads() -> None:
    answer = requests.get(f"{serve()}/metrics", timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text == "app_proxy_jobs_settled_total 7.0\n"


def test_open_metrics_are_given_where_they_are_on_to_whom_asks_for_them() -> None:
    asks = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    assert requests.get(f"{serve()}/metrics", headers=asks, timeout=10).headers["Content-Type"].startswith("text/plain")
    bind = f"127.0.0.1:{free_port()}"
    serve_operator(bind, lambda: b"plain", lambda: (True, {}), (), lambda: b"open\n# EOF\n")
    answer = requests.get(f"http://{bind}/metrics", headers=asks, timeout=10)
    assert (answer.text, answer.headers["Content-Type"]) == (
        "open\n# EOF\n", "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )  # fmt: skip
    assert requests.get(f"http://{bind}/metrics", timeout=10).text == "plain"


def test_a_worker_that_makes_no_progress_is_alive_and_not_ready() -> None:
    url = serve((False, {"lane main/apns": "makes no progress: connection refused"}))
    alive, ready = (requests.get(f"{url}{path}", timeout=10) for path in ("/healthz", "/readyz"))
    assert (alive.status_code, alive.json()) == (200, {"code": 200, "message": "ok", "data": None})
    assert ready.status_code == 503
    assert ready.json() == {
        "code": 503,
        "message": "not ready",
        "data": {"lane main/apns": "makes no progress: connection refused"},
    }


def test_a_worker_that_works_is_ready() -> None:
    answer = requests.get(f"{serve()}/readyz", timeout=10)
    assert (answer.status_code, answer.json()["data"]) == (200, {"worker": "works"})


@pytest.mark.parametrize("path", ["/", "/api/account/token", "/callbacks/mimc/secret", "/metrics/more"])
def test_nothing_else_is_served_there(path: str) -> None:
    assert requests.get(f"{serve()}{path}", timeout=10).status_code == 404


def test_a_page_whose_name_was_made_to_point_here_reads_nothing() -> None:
    for path in ("/metrics", "/healthz", "/readyz", "/"):
        assert requests.get(f"{serve()}{path}", headers={"Host": "rebound.example.com"}, timeout=10).status_code == 421


def test_a_caller_that_says_nothing_keeps_nobody_else_waiting() -> None:
    url = serve()
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))):
        assert requests.get(f"{url}/healthz", timeout=10).status_code == 200


def test_a_taken_port_stops_no_delivery_and_the_log_names_the_setting(logged: list[MutableMapping[str, Any]]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        serve_operator(f"127.0.0.1:{taken.getsockname()[1]}", lambda: b"", lambda: (True, {}))
    (entry,) = logged
    assert entry["log_level"] == "error"
    assert "relay.operator_bind" in entry["event"]


def test_no_address_serves_nothing(logged: list[MutableMapping[str, Any]]) -> None:
    serve_operator("", lambda: b"", lambda: (True, {}))
    assert logged == []
