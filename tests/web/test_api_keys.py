"""Servers of the developer's with an API key: who may call which route, what is counted, and what a log says of it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Response
from structlog.testing import capture_logs

from proxy.domain.api_keys import KEY_BYTES, ApiKey, Scope, hash_of, id_of, new_bearer
from proxy.errors import StoreUnavailable
from proxy.web.callers import Caller, current_caller, require
from proxy.web.envelope import envelope
from proxy.web.limits import Limited
from tests.auth.endpoint import always, endpoint
from tests.web.test_audit import audits
from tests.web.test_limits import counted, metrics_of
from tests.web.world import NOW, World, app_section, bearer, settings

KEY = new_bearer(b"canary".ljust(KEY_BYTES, b"."))
SYSTEM = ApiKey(id_of(hash_of(KEY)), "bot", "main", "system", frozenset({Scope.PUSH_SEND}), NOW)
SHOWN = {"Authorization": f"Bearer {KEY}", "X-Request-Id": "r-1"}
ANN = b'{"account": "ann"}'
OPENED = [f"proxy.{part}.{name}" for part in ("domain", "store.users") for name in ("api_keys", "idempotency")]
GONE = "the API key is unknown, revoked or blocked"


class Place(World):
    """With a route as those of MIMC's API are."""

    def __init__(self, **sections: Any) -> None:
        super().__init__(settings({"main": app_section(api=["push"])}, **sections))
        self.api_keys.known[KEY] = SYSTEM

        @self.app.post("/api/things/<name>")
        @require(Caller.CLIENT, Limited.CLIENT)
        def things(name: str) -> Response:
            caller = current_caller()
            return envelope(200, data=caller.id if isinstance(caller, ApiKey) else caller.app_account)

    def call(self, headers: dict[str, str]) -> Any:
        return self.client.post("/api/things/x", headers=headers)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


def test_a_clients_route_knows_users_and_services_and_nobody_else() -> None:
    place = Place()
    assert place.call(bearer()).json["data"] == "1000"
    assert place.call(SHOWN).json["data"] == SYSTEM.id
    assert place.api_keys.asked == [(KEY, NOW)]
    for headers in ({}, {"Authorization": "Bearer x.y.z"}, {"Cookie": "session=x"}):
        assert place.call(headers).status_code == 401


def test_a_service_counts_for_its_address_and_its_key() -> None:
    place = Place()
    place.call(SHOWN)
    assert place.admission.calls == [("client_per_address", "127.0.0.1"), ("client_per_key", SYSTEM.id)]
    place.admission.spent["client_per_key", SYSTEM.id] = 5.0
    answer = place.call(SHOWN)
    assert (answer.status_code, answer.json["message"]) == (429, "too many calls by this key")
    assert answer.headers["Retry-After"] == "5"
    assert place.call(bearer()).status_code == 200


def test_a_revoked_key_is_refused_in_the_envelope_counted_and_audited(lines: list[Any]) -> None:
    place = Place()
    row = 'app_proxy_callers_refused_total{backend="api_key",reason="unknown or revoked"}'
    before = counted(metrics_of(place), row)
    place.api_keys.known.clear()
    answer = place.call(SHOWN)
    assert (answer.status_code, answer.json) == (401, {"code": 401, "message": GONE, "data": None})
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert audits(lines) == [{"what": "refused", "backend": "api_key", "reason": "unknown or revoked"}]
    assert counted(metrics_of(place), row) == before + 1


@pytest.mark.parametrize(
    "shown", [f"Bearer {KEY}x y", f"Basic {KEY}", KEY, f"Bearer {KEY[:20]}", f"Bearer {KEY}, {KEY}"]
)
def test_a_mangled_key_is_refused_and_shown_to_no_backend(shown: str, lines: list[Any]) -> None:
    with endpoint(always(200, ANN)) as site:
        place = Place(auth={"introspection": {"url": site.url}})
        assert place.call({**SHOWN, "Authorization": shown}).status_code == 401
        for path in ("/api/account/token", "/api/devices"):
            assert place.client.open(path, method="POST", headers={"Authorization": shown}).status_code in (401, 405)
        assert site.asked == []
    assert KEY[:20] not in repr(lines)


def test_a_users_route_refuses_an_api_key_and_asks_nobody(lines: list[Any]) -> None:
    with endpoint(always(200, ANN)) as site:
        place = Place(auth={"introspection": {"url": site.url}})
        answer = place.client.post("/api/account/token", headers=SHOWN)
        assert (answer.status_code, json.loads(answer.data)["code"]) == (401, 401)
        assert (site.asked, place.api_keys.asked, place.tokens.calls) == ([], [], [])
    assert audits(lines) == [{"what": "refused", "backend": "api_key", "reason": "not for this call"}]


def test_where_no_section_opens_the_api_such_a_bearer_is_a_users_own() -> None:
    with endpoint(always(200, ANN)) as site:
        world = World(settings(auth={"introspection": {"url": site.url}}))
        assert world.client.post("/api/account/token", headers=SHOWN).status_code == 200
        assert len(site.asked) == 1


def test_a_service_whose_account_is_blocked_or_whose_section_is_gone_is_refused(lines: list[Any]) -> None:
    place = Place()
    place.blocks.block("system")
    assert place.call(SHOWN).status_code == 401
    place.blocks.unblock("system")
    place.api_keys.known[KEY] = replace(SYSTEM, app="former")
    assert place.call(SHOWN).status_code == 401
    assert [(it["reason"], it["api_key_name"]) for it in audits(lines)] == [
        ("blocked or revoked", "bot"),
        ("of no section", "bot"),
    ]


def test_a_store_that_is_away_cannot_say_whose_key_it_is() -> None:
    place = Place()
    place.api_keys.failure = StoreUnavailable("the store did not answer")
    assert place.call(SHOWN).status_code == 503


def test_a_requests_line_names_the_service_and_not_its_key(lines: list[Any]) -> None:
    Place().call(SHOWN)
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["auth"], line["api_key_id"]) == ("api_key", SYSTEM.id)
    assert KEY not in repr(lines)


def test_a_limit_for_services_on_anything_but_clients_calls_cannot_even_be_written() -> None:
    with pytest.raises(ValueError, match="only what clients call"):
        require(Caller.CLIENT, Limited.TOKEN)


@pytest.mark.parametrize("is_open", [False, True])
def test_what_callers_of_mimcs_api_need_is_loaded_where_a_section_opens_the_api(is_open: bool) -> None:
    code = f"""
import sys
from proxy.app import create_app
from proxy.settings import Settings
from proxy.wiring.web import web_services
app = dict(app_id="1", app_key="k", app_secret="s", url_secret="u" * 16, api={["push"] if is_open else []})
auth = dict(jwt=dict(own=dict(secret="x" * 32)))
create_app(web_services(Settings.model_validate(dict(auth=auth, apps=dict(main=app)))))
print(*sorted(name for name in sys.modules if name.endswith(("api_keys", "idempotency"))))
"""
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert found == (sorted([*OPENED, "proxy.web.idempotency"]) if is_open else [])
