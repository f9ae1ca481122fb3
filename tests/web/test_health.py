"""What only the operator sees."""

import json

import pytest

from proxy.domain.monitoring import Metric
from proxy.web.listeners import Listener
from tests.web.world import URL_SECRET, World, bearer, settings

OPERATOR, PUBLIC = "http://127.0.0.1:9464", "http://127.0.0.1:8080"


ONE_LISTENER = {"bind": "127.0.0.1:8080", "operator_bind": "127.0.0.1:8080"}


def test_a_process_without_a_store_is_alive() -> None:
    world = World()
    world.state.ready = False
    assert world.client.get("/healthz", base_url=OPERATOR).status_code == 200


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
def test_readiness_and_its_reasons_are_the_operators(ready: bool, status: int) -> None:
    world = World()
    world.state.ready = ready
    told = world.client.get("/readyz", base_url=OPERATOR)
    assert (told.status_code, json.loads(told.data)["data"]) == (status, {"store": "a sentence"})


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_the_public_listener_has_none_of_it(path: str) -> None:
    assert World().client.get(path, base_url=PUBLIC).status_code == 404


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
def test_where_there_is_one_listener_a_balancer_may_ask_there_and_learns_no_reason(ready: bool, status: int) -> None:
    world = World(settings(server=ONE_LISTENER))
    world.state.ready = ready
    assert world.client.get("/healthz", base_url=PUBLIC).status_code == 200
    bare = world.client.get("/readyz", base_url=PUBLIC)
    assert (bare.status_code, json.loads(bare.data)["data"]) == (status, None)
    assert world.client.get("/metrics", base_url=PUBLIC).status_code == 404
    assert world.client.get("/api/devices", base_url=PUBLIC).status_code == 401


@pytest.mark.parametrize(
    ("method", "path"), [("POST", f"/callbacks/mimc/{URL_SECRET}"), ("GET", "/api/devices"), ("GET", "/nowhere")]
)
def test_the_operators_listener_has_nothing_else(method: str, path: str) -> None:
    assert World().client.open(path, method=method, base_url=OPERATOR, headers=bearer()).status_code == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9464", 200), ("10.0.0.7", 200), ("[::1]:9464", 200), ("localhost", 200), ("LocalHost:80", 200),
        ("metrics.internal:9464", 200), ("rebound.example.com", 421), ("rebound.example.com:9464", 421),
        ("127.0.0.1.example.com", 421), ("[::1].example.com", 421), ("localhost.", 421), ("", 421), ("127.0.0.1:", 421),
        ("metrics.internal:9464:1", 421),
    ],
)  # fmt: skip
def test_the_operators_listener_answers_known_hosts(host: str, status: int) -> None:
    world = World(settings(server={"operator_hosts": ["metrics.internal"]}))
    for path in ("/metrics", "/readyz", "/healthz"):
        assert world.client.get(path, base_url=OPERATOR, headers={"Host": host}).status_code == status, path


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
def test_a_listener_is_known_by_the_address_of_its_socket(bind: str, address: object, took: bool) -> None:
    assert Listener.parse(bind).is_at(address) is took
