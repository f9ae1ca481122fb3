"""How often a caller may call."""

import re
import uuid
from dataclasses import replace
from typing import Any

import pytest
from flask import Response

from proxy.app import create_app
from proxy.errors import StoreUnavailable
from proxy.settings import LimitSettings
from proxy.store.connection import Store
from proxy.store.users.admission import RedisAdmission
from proxy.web.callers import Caller, require
from proxy.web.envelope import envelope
from proxy.web.limits import Limited, spend_sign_in
from tests.auth.endpoint import always, endpoint
from tests.web.test_callbacks import offline
from tests.web.world import ORIGIN, URL_SECRET, World, bearer, settings

PATH = "/api/account/token"
DOWN = StoreUnavailable("the store does not answer")


def sign_in_world(**limits: object) -> World:
    """With a route as the built-in accounts have: anyone may try, and each try counts."""
    world = World(settings(limits=limits))

    @world.app.post("/auth/try/<account>")
    @require(Caller.ANYONE, Limited.SIGN_IN)
    def try_account(account: str) -> Response:
        spend_sign_in(account)
        return envelope(200)

    return world


def counted(metrics: str, row: str) -> float:
    found = re.search(rf"^{re.escape(row)} (\S+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


def metrics_of(world: World) -> str:
    return world.client.get("/metrics", base_url="http://127.0.0.1:9464").text


def test_a_token_call_counts_for_its_address_and_its_account() -> None:
    world = World()
    assert world.client.post(PATH, headers=bearer()).status_code == 200
    assert world.admission.calls == [("token_per_address", "127.0.0.1"), ("token_per_account", "1000")]


@pytest.mark.parametrize(("by", "who"), [("account", "1000"), ("address", "127.0.0.1")])
@pytest.mark.parametrize(("wait_s", "told"), [(0.2, "1"), (17.1, "18"), (59.9, "60")])
def test_who_called_too_often_is_told_when_to_come_back_so_that_a_page_can_read_it(
    by: str, who: str, wait_s: float, told: str
) -> None:
    world = World()
    world.admission.spent[f"token_per_{by}", who] = wait_s
    row = f'app_proxy_rate_limited_total{{by="{by}",route="token"}}'
    before = counted(metrics_of(world), row)
    answer = world.client.post(PATH, headers=bearer() | {"Origin": ORIGIN})
    assert answer.status_code == 429
    assert answer.json == {"code": 429, "message": f"too many calls by this {by}", "data": None}
    assert answer.headers["Retry-After"] == told
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
    assert world.tokens.calls == []
    assert counted(metrics_of(world), row) == before + 1


def test_an_address_is_counted_before_its_proof_is_looked_at() -> None:
    world = World()
    world.admission.spent["token_per_address", "127.0.0.1"] = 3.0
    assert world.client.post(PATH, headers={"Authorization": "Bearer of nonsense"}).status_code == 429


def test_behind_a_named_proxy_its_clients_are_counted() -> None:
    world = World(settings(limits={"trusted_proxies": ["127.0.0.1"]}))
    for client, who in (("198.51.100.1", "198.51.100.1"), ("2001:db8::7", "2001:db8::/64")):
        world.client.post(PATH, headers={"X-Forwarded-For": client})
        assert world.admission.calls[-1] == ("token_per_address", who)


def test_without_counters_tokens_are_given_and_counted_and_sign_in_is_closed() -> None:
    world = sign_in_world()
    world.admission.failure = DOWN
    rows = [f'app_proxy_rate_limiter_unavailable_total{{route="{route}"}}' for route in ("token", "sign_in")]
    before = [counted(metrics_of(world), row) for row in rows]
    assert world.client.post(PATH, headers=bearer()).status_code == 200
    answer = world.client.post("/auth/try/ann", headers={"Origin": ORIGIN})
    assert answer.status_code == 503
    assert answer.json == {"code": 503, "message": "the store is unavailable", "data": None}
    assert int(answer.headers["Retry-After"]) >= 1
    assert [counted(metrics_of(world), row) for row in rows] == [before[0] + 1, before[1] + 1]


def test_a_sign_in_counts_for_the_account_that_is_tried() -> None:
    world = sign_in_world()
    world.client.post("/auth/try/ann")
    assert world.admission.calls == [("sign_in_per_address", "127.0.0.1"), ("sign_in_per_account", "ann")]
    world.admission.spent["sign_in_per_account", "ann"] = 5.0
    assert world.client.post("/auth/try/ann").status_code == 429
    assert world.client.post("/auth/try/ben").status_code == 200


def test_a_limit_that_is_off_counts_nothing() -> None:
    world = World(settings(limits={"token_per_account": "off", "token_per_address": "off"}))
    world.admission.failure = DOWN
    assert world.client.post(PATH, headers=bearer()).status_code == 200
    assert world.admission.calls == []


def test_callbacks_with_the_right_secret_are_never_limited_whatever_comes() -> None:
    world = World()
    world.admission.failure = DOWN
    world.admission.spent["wrong_secret_per_address", "127.0.0.1"] = 9.0
    for _ in range(50):
        assert world.client.post(f"/callbacks/mimc/{URL_SECRET}", json=offline()).status_code == 200
    assert (world.admission.calls, world.admission.asked) == ([], [])


def test_wrong_secrets_count_by_address_and_cost_no_round_trip() -> None:
    world = World()
    for _ in range(2):
        assert world.client.post("/callbacks/mimc/a-wrong-secret", json=offline()).status_code == 404
    assert world.admission.calls == [("wrong_secret_per_address", "127.0.0.1")] * 2
    world.admission.spent["wrong_secret_per_address", "127.0.0.1"] = 9.0
    assert world.client.post("/callbacks/mimc/a-wrong-secret", json=offline()).status_code == 429
    assert world.admission.asked == []


@pytest.mark.parametrize("path", ["/api/devices", "/api/devices/x", "/auth/me"])
def test_a_flood_of_made_up_bearers_ends_before_it_is_looked_at(path: str) -> None:
    world = World(settings(limits={"client_per_address": "3/minute"}))
    world.admission.spent["client_per_address", "127.0.0.1"] = 9.0
    assert world.client.get(path, headers={"Authorization": "Bearer made-up"}).status_code == 429
    assert world.admission.asked == []


def test_health_is_counted_in_the_process_alone() -> None:
    world = World()
    for path in ("/healthz", "/readyz", "/metrics"):
        world.client.get(path, base_url="http://127.0.0.1:9464")
    assert world.admission.calls == [("operator_per_address", "127.0.0.1")] * 3
    assert world.admission.asked == []


def test_the_limit_holds_over_a_real_store_to_the_call(store: Store) -> None:
    world = World(settings(limits={"token_per_account": "7/hour", "token_per_address": "off"}))
    client = create_app(replace(world.services, admission=RedisAdmission(store, world.services.now))).test_client()
    account = uuid.uuid4().hex
    answers = [client.post(PATH, headers=bearer(account)) for _ in range(9)]
    assert [answer.status_code for answer in answers] == [200] * 7 + [429] * 2
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 3600


@pytest.mark.parametrize("rate", ["60", "sixty/minute", "0/minute", "", "-1/minute", "1/fortnight", 60])
def test_a_rate_is_calls_and_a_time(rate: Any) -> None:
    with pytest.raises(ValueError, match="token_per_account"):
        LimitSettings(token_per_account=rate)


@pytest.mark.parametrize("rate", ["1/second", "60/minute", "5 per 10 seconds", "1000/hour", "off"])
def test_a_rate_may_be_written_in_words(rate: str) -> None:
    assert LimitSettings(token_per_account=rate).token_per_account == rate


def test_strangers_are_counted_by_the_store_before_the_developers_url_is_asked(store: Store) -> None:
    with endpoint(always(status=401)) as site:
        auth = {"introspection": {"url": site.url, "negative_cache_s": 0.001}}
        world = World(settings(auth=auth, limits={"client_per_address": "5/hour"}))
        peer = f"2001:db8:{uuid.uuid4().hex[:4]}::1"
        processes = [
            create_app(replace(world.services, admission=RedisAdmission(store, world.services.now))).test_client()
            for _ in range(2)
        ]
        statuses = [
            client.get(
                "/api/devices",
                headers={"Authorization": f"Bearer made-up-{uuid.uuid4()}"},
                environ_base={"REMOTE_ADDR": peer},
            ).status_code
            for _ in range(6)
            for client in processes
        ]
        assert (statuses.count(401), statuses.count(429), len(site.asked)) == (5, 7, 5)
