"""What only the operator sees."""

import json

import pytest

from proxy.domain.monitoring import Metric
from proxy.web.listeners import Listener
from tests.web.world import World

OPERATOR, PUBLIC = "http://127.0.0.1:9464", "http://127.0.0.1:8080"


@pytest.mark.parametrize("listener", [OPERATOR, PUBLIC])
def test_a_process_without_a_store_is_alive(listener: str) -> None:
    world = World()
    world.state.ready = False
    assert world.client.get("/healthz", base_url=listener).status_code == 200


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
def test_readiness_is_told_to_all_and_its_reasons_to_the_operator(ready: bool, status: int) -> None:
    world = World()
    world.state.ready = ready
    told = world.client.get("/readyz", base_url=OPERATOR)
    assert (told.status_code, json.loads(told.data)["data"]) == (status, {"store": "a sentence"})
    public = world.client.get("/readyz", base_url=PUBLIC)
    assert (public.status_code, json.loads(public.data)["data"]) == (status, None)


def test_metrics_are_the_operators() -> None:
    world = World()
    world.state.store_metrics = [Metric("lane_backlog", "Jobs waiting", {"lane": "main"}, 3.0)]
    assert world.client.get("/metrics", base_url=PUBLIC).status_code == 404
    text = world.client.get("/metrics", base_url=OPERATOR).text
    assert 'lane_backlog{lane="main"} 3.0' in text
    assert "app_proxy_store_up 1.0" in text
    assert "app_proxy_token_call_seconds_count" in text


def test_metrics_without_a_store_are_all_but_its_own() -> None:
    world = World()
    world.state.store_metrics = None
    answer = world.client.get("/metrics", base_url=OPERATOR)
    assert answer.status_code == 200
    assert "app_proxy_store_up 0.0" in answer.text


class Connection:
    def __init__(self, address: object) -> None:
        self.address = address

    def getsockname(self) -> object:
        return self.address


@pytest.mark.parametrize(
    ("bind", "address", "took"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464), True),
        ("127.0.0.1:9464", ("127.0.0.1", 8080), False),
        ("127.0.0.1:9464", ("10.0.0.7", 9464), False),
        ("0.0.0.0:9464", ("10.0.0.7", 9464), True),
        (":9464", ("10.0.0.7", 9464), True),
        ("localhost:9464", ("::1", 9464, 0, 0), True),
        ("[::1]:9464", ("::1", 9464, 0, 0), True),
        ("[::]:9464", ("fe80::1", 9464, 0, 0), True),
        ("unix:/run/operator.sock", "/run/operator.sock", True),
        ("unix:/run/operator.sock", "/run/public.sock", False),
        ("127.0.0.1:9464", "/run/public.sock", False),
    ],
)
def test_a_listener_is_told_by_the_connection_and_not_by_the_host_header(
    bind: str, address: object, took: bool
) -> None:
    environ = {"gunicorn.socket": Connection(address), "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "9464"}
    assert Listener.parse(bind).took(environ) is took
