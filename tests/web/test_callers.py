"""Who may call which route: the URL map is walked, so that none can be forgotten."""

import json
from collections.abc import Iterator

import pytest
from flask import Flask, g, session
from flask.sessions import NullSession
from werkzeug.routing import Rule

from proxy.settings import LimitSettings
from proxy.web.callers import Caller, Guard, guard_of, require
from proxy.web.limits import Limited
from tests.web.test_callbacks import offline
from tests.web.world import ORIGIN, URL_SECRET, World

OPERATOR = "http://127.0.0.1:9464"


def routes(app: Flask) -> list[tuple[Rule, Guard | None]]:
    return [(rule, guard_of(app.view_functions[rule.endpoint])) for rule in app.url_map.iter_rules()]


def of(caller: Caller) -> list[Rule]:
    return [rule for rule, guard in routes(World().app) if guard and guard.caller is caller]


def calls(rule: Rule) -> Iterator[tuple[str, str]]:
    """Each method of a route with a path that leads to it."""
    path = rule.build(dict.fromkeys(rule.arguments, "x"))
    assert path is not None
    yield from ((method, path[1]) for method in set(rule.methods or ()) - {"HEAD", "OPTIONS"})


def unguarded(app: Flask) -> list[str]:
    return [rule.rule for rule, guard in routes(app) if guard is None]


def test_every_route_says_who_may_call_it() -> None:
    assert unguarded(World().app) == []


def test_a_route_that_does_not_say_it_is_found() -> None:
    app = World().app
    app.add_url_rule("/forgotten", view_func=lambda: "")
    assert unguarded(app) == ["/forgotten"]


def test_there_are_routes_of_every_kind() -> None:
    assert all(of(caller) for caller in set(Caller) - {Caller.CLIENT})  # MIMC's API, which is closed here


def test_a_users_route_is_a_clients_route_and_no_other_is() -> None:
    assert {rule.rule.split("/")[1] for rule in of(Caller.USER)} <= {"api", "auth"}
    for caller in (Caller.SENDER, Caller.OPERATOR):
        assert not [rule for rule in of(caller) if rule.rule.startswith(("/api/", "/auth/"))]


@pytest.mark.parametrize("rule", of(Caller.USER), ids=str)
def test_a_users_route_is_closed_without_a_proof(rule: Rule) -> None:
    world = World()
    for method, path in calls(rule):
        for headers in ({}, {"Authorization": "Bearer x.y.z"}, {"Cookie": "session=x; remember_token=1000|x"}):
            answer = world.client.open(path, method=method, headers=headers | {"Origin": ORIGIN})
            assert (answer.status_code, json.loads(answer.data)["code"]) == (401, 401), (method, path)
            assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize("rule", of(Caller.OPERATOR), ids=str)
def test_an_operators_route_does_not_exist_on_the_public_listener(rule: Rule) -> None:
    client = World().client
    for method, path in calls(rule):
        assert client.open(path, method=method, base_url="http://127.0.0.1:8080").status_code == 404
        assert client.open(path, method=method, base_url=OPERATOR).status_code == 200


def test_senders_have_the_callbacks_for_themselves_and_without_a_limit() -> None:
    for rule, guard in routes(World().app):
        assert guard is not None
        assert (guard.caller is Caller.SENDER) is rule.rule.startswith("/callbacks/"), rule


def test_every_route_has_a_limit_that_the_settings_name() -> None:
    for rule, guard in routes(World().app):
        assert guard is not None, rule
        assert hasattr(LimitSettings(), f"{guard.limited}_per_address"), rule
        if guard.caller is Caller.USER:
            assert hasattr(LimitSettings(), f"{guard.limited}_per_account"), rule


@pytest.mark.parametrize("secret", [URL_SECRET, "a-wrong-secret"])
def test_a_senders_call_touches_neither_a_session_nor_flask_login(secret: str) -> None:
    with World().client as client:
        headers = {"Cookie": "session=x; remember_token=1000|x", "Authorization": "Bearer x.y.z"}
        answer = client.post(f"/callbacks/mimc/{secret}", json=offline(), headers=headers)
        assert "Set-Cookie" not in answer.headers
        assert "Cookie" not in answer.headers.get("Vary", "")
        assert isinstance(session._get_current_object(), NullSession)  # type: ignore[attr-defined]  # a proxy's own
        assert "_login_user" not in g
        assert "user" not in g


def test_a_limit_on_a_sender_cannot_even_be_written() -> None:
    with pytest.raises(ValueError, match="wrong secrets alone"):
        require(Caller.SENDER, Limited.TOKEN)


def test_every_answer_of_every_route_carries_the_security_headers() -> None:
    client = World().client
    paths = [(method, path, OPERATOR) for rule, _ in routes(World().app) for method, path in calls(rule)]
    for method, path, base in [*paths, ("GET", "/nowhere", OPERATOR), ("OPTIONS", "/api/account/token", OPERATOR)]:
        answer = client.open(path, method=method, base_url=base, headers={"Origin": ORIGIN})
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Werkzeug" not in answer.headers.get("Server", "")
        if path.startswith(("/api/", "/auth/")):
            assert answer.headers["Cache-Control"] == "no-store"
