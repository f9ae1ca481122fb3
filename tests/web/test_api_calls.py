"""MIMC's API behind our routes: every call, who may make it, and that nothing leaves where they may not."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from proxy.app import create_app
from proxy.domain.api_keys import ApiKey, Scope
from proxy.domain.quotas import Amount, Holder, QuotaSpent
from proxy.domain.service_state import BreakerRules
from proxy.domain.transfers import Response
from proxy.logs import redact
from proxy.metrics import WEB
from proxy.mimc.api import MimcApi
from proxy.mimc.calls import CALLS, CREDENTIALS, MOST_PAYLOAD, Actor, Call, Family, Form, Proof
from proxy.mimc.connection import Limits
from proxy.mimc.passable import Passable
from proxy.mimc.user_tokens import UserTokens
from proxy.usecases.guarded_mimc import MimcGuard
from tests.mimc.upstream import Conversation, Serve, Upstream, answering, http, upstream
from tests.web.world import (
    APP_ID,
    JWT_KEY,
    NOW,
    ORIGIN,
    OTHER_APP_ID,
    World,
    app_section,
    bearer,
    other_section,
    settings,
)

GOOD = http(b'{"code":200,"message":"success","data":{"by":"mimc"}}', headers=b"Content-Type: application/json\r\n")
TOKEN = Response(200, {}, b'{"code":200,"message":"success","data":{"token":"the-mimc-token-of-the-user"}}')
EVERY = [family.value for family in Family]
VALUES: dict[Form, object] = {
    Form.TEXT: "bob", Form.ID: "21351198708203520", Form.NUMBER: "1516763973000", Form.FLAG: True,
    Form.TEXTS: ["bob", "carol"], Form.IDS: [21351198708203520], Form.ACCOUNTS: "bob,carol", Form.CODING: "",
    Form.PAYLOAD: "canary words", Form.PAYLOADS: ["canary words"],
}  # fmt: skip


class ApiWorld(World):
    """Two apps; the first opens every family, the second none."""

    def __init__(self, service: Upstream) -> None:
        main = app_section(base_url=service.url, api=EVERY)
        super().__init__(settings({"main": main, "other": other_section(base_url=service.url)}))
        self.service = service
        self.tokens.answer = TOKEN
        apps = self.settings.apps
        guard = MimcGuard(BreakerRules(5, 1.0, 8.0, 3.0), lambda _: None)
        self.services = replace(
            self.services,
            api=MimcApi(apps, Limits(5, 5), Passable(apps, "refuse"), UserTokens(self.tokens), guard),
        )
        self.app = create_app(self.services)

    def service_with(self, *scopes: Scope, app: str = "main") -> dict[str, str]:
        shown = f"ak_{len(self.api_keys.known):064x}"
        self.api_keys.known[shown] = ApiKey("id", "bot", app, "system", frozenset(scopes), NOW)
        return {"Authorization": f"Bearer {shown}"}

    def make(
        self, call: Call, headers: Mapping[str, str], members: Mapping[str, Any] | None = None, app_id: str = APP_ID
    ) -> TestResponse:
        path = call.path.replace("<app_id>", app_id).replace("<topic_id>", "21351198708203520")
        query = {name: str(VALUES[form]) for name, form in call.query.items()}
        extra = {name: str(VALUES[form]) for name, form in call.headers.items()}
        body = {**members_of(call), **(members or {})} if call.method in ("POST", "PUT") else members
        return self.client.open(path, method=call.method, query_string=query, headers={**extra, **headers}, json=body)


def members_of(call: Call) -> dict[str, Any]:
    members: dict[str, Any] = {name: VALUES[form] for name, form in call.members.items()}
    if call.actor in (Actor.FROM_ACCOUNT, Actor.ACCOUNT):
        members.pop(call.actor.value, None)
    if call.actor is Actor.ONE_OF_TWO:
        members["fromAccount"] = "1000"
    return members


def json_of(answer: TestResponse) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.data)
    return found


@contextmanager
def api_world(serve: Serve = answering(GOOD)) -> Iterator[ApiWorld]:  # noqa: B008  it keeps nothing
    with upstream(serve) as service:
        yield ApiWorld(service)


@pytest.fixture(scope="module")
def world() -> Iterator[ApiWorld]:
    with api_world() as made:
        yield made


@pytest.fixture(autouse=True)
def _nothing_left(world: ApiWorld) -> None:
    world.service.requests.clear()


every_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)


@every_call
def test_a_users_call_leaves_as_mimc_takes_it(world: ApiWorld, call: Call) -> None:
    answer = world.make(call, bearer())
    assert (answer.status_code, answer.json) == (200, {"code": 200, "message": "success", "data": {"by": "mimc"}})
    (request,) = world.service.requests
    head, _, body = request.decode().partition("\r\n\r\n")
    line, *headers = head.split("\r\n")
    target = call.path.replace("<app_id>", APP_ID).replace("<topic_id>", "21351198708203520")
    assert line.split(" ")[:2] == [call.method, line.split(" ")[1]]
    assert line.split(" ")[1].partition("?")[0] == target
    sent = json.loads(body) if body else {}
    if call.proof is Proof.BODY:
        assert (sent["appId"], sent["appKey"], sent["appSecret"]) == (APP_ID, "key", "b64-demo-secret+0123456789AB==")
        assert sent["fromAccount"] == "1000"
    else:
        assert "token: the-mimc-token-of-the-user" in headers
        assert not [it for it in headers if it.lower().startswith(("appkey", "appsecret"))]
    for name, form in call.members.items():
        if name in members_of(call):
            assert sent[name] == members_of(call)[name], (name, form)


@every_call
def test_with_and_without_the_slash(world: ApiWorld, call: Call) -> None:
    other = replace(call, path=call.path.rstrip("/") if call.path.endswith("/") else call.path + "/")
    assert world.make(other, bearer()).status_code == 200


def test_the_doubled_slash_of_mimcs_android_demo(world: ApiWorld) -> None:
    doubled = {"PATH_INFO": "//api/uctopic/topics"}
    answer = world.client.get("/", headers={**bearer(), "Origin": ORIGIN}, environ_overrides=doubled)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)


REFUSALS: dict[str, tuple[int, ...]] = {
    "no session": (401,), "a wrong session": (401,), "a revoked key": (401,), "a key without a scope": (403,),
    "another app": (404,), "an app without these calls": (403, 404), "a key of another app": (403, 404),
    "a body too long": (413,), "no object": (400,),
}  # fmt: skip


@every_call
def test_what_is_refused_never_leaves(world: ApiWorld, call: Call) -> None:
    for what, statuses in REFUSALS.items():
        answer = refused(world, call, what)
        assert answer.status_code in statuses, (what, answer.data)
        assert json_of(answer)["code"] == answer.status_code
    assert not world.service.requests


def refused(world: ApiWorld, call: Call, what: str) -> TestResponse:
    named: dict[str, Any] = {"headers": bearer()}
    match what:
        case "no session":
            named["headers"] = {}
        case "a wrong session":
            named["headers"] = {"Authorization": bearer()["Authorization"] + "x"}
        case "a revoked key":
            named["headers"] = {"Authorization": "Bearer ak_" + "f" * 64}
        case "a key without a scope":
            named["headers"] = world.service_with(*(set(Scope) - {call.scope, _more_than(call.scope)}))
        case "a key of another app":
            named["headers"] = world.service_with(*Scope, app="other")
        case "another app" | "an app without these calls":
            app_id = OTHER_APP_ID if what.startswith("an ") else "2882303761517000009"
            named |= {"app_id": app_id, "headers": {**bearer(), "appId": app_id}}
        case "a body too long":
            named["members"] = {"more": "x" * 70_000}
        case "no object":
            named["members"] = ["a"]
    if what == "no object":
        path = call.path.replace("<app_id>", APP_ID).replace("<topic_id>", "7")
        return world.client.open(path, method=call.method, data=b"[1]", headers=named["headers"])
    return world.make(call, **named)


def _more_than(scope: Scope | None) -> Scope | None:
    return Scope.PUSH_SEND_AS_ANYONE if scope is Scope.PUSH_SEND else None


@every_call
def test_a_client_names_nobody_else_and_shows_no_credentials(world: ApiWorld, call: Call) -> None:
    foreign = {"appKey": "foreign", "appSecret": "foreign", "token": "foreign", "appAccount": "foreign"}
    assert (
        world.make(call, {**bearer(), **foreign}, {**foreign} if call.method in ("POST", "PUT") else None).status_code
        == 200
    )
    assert "foreign" not in world.service.requests.pop().decode().replace("appAccountEncode", "")
    if call.actor is not Actor.CREDENTIALS:
        name = "fromAccount" if call.actor is Actor.ONE_OF_TWO else call.actor.value
        answer = world.make(call, bearer(), {name: "eve"})
        assert answer.status_code == 403
        counted = {"app": "main", "call": call.name, "answer": "another account"}
        assert WEB.get_sample_value("app_proxy_api_calls_total", counted)
    assert not world.service.requests


@every_call
def test_a_service_needs_the_scope_of_the_call(world: ApiWorld, call: Call) -> None:
    every = world.make(call, world.service_with(*Scope))
    if call.scope is None:
        assert every.status_code == 403
        assert not world.service.requests
        return
    assert world.make(call, world.service_with(call.scope)).status_code == every.status_code == 200
    for request in world.service.requests:
        text = request.decode()
        assert "b64-demo-secret+0123456789AB==" in text
        assert "the-mimc-token-of-the-user" not in text
        if call.actor is Actor.CREDENTIALS:
            assert "appAccount: system" in text


def test_a_service_sends_as_itself_and_with_a_scope_as_anyone(world: ApiWorld) -> None:
    push = next(call for call in CALLS if call.name == "push p2p")
    assert world.make(push, world.service_with(Scope.PUSH_SEND), {"fromAccount": "eve"}).status_code == 403
    assert world.make(push, world.service_with(Scope.PUSH_SEND_AS_ANYONE), {"fromAccount": "eve"}).status_code == 200
    assert world.make(push, world.service_with(Scope.PUSH_SEND_AS_ANYONE)).status_code == 200
    senders = [json.loads(request.partition(b"\r\n\r\n")[2])["fromAccount"] for request in world.service.requests]
    assert senders == ["eve", "system"]


def test_what_mimc_counts_is_taken_from_its_quota_and_beyond_it_nothing_leaves() -> None:
    with api_world() as world:
        service = world.service_with(*Scope)
        for call in CALLS:
            world.make(call, bearer())
        world.make(next(call for call in CALLS if call.name == "push p2p more"), service)
        users, services = (
            [(it.amount, it.number) for it in world.quotas.taken if it.account == who] for who in ("1000", None)
        )
        assert users == [(call.amount, 2 if call.name == "push p2p more" else 1) for call in CALLS if call.amount]
        assert services == [(Amount.PERSONAL, 2)]
        world.service.requests.clear()
        world.quotas.answer = QuotaSpent(Amount.PERSONAL, Holder.ACCOUNT, 2500)
        push = next(call for call in CALLS if call.name == "push p2p")
        answer = world.make(push, bearer())
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
        assert world.service.requests == []


def test_a_call_that_is_refused_counts_for_its_caller_and_takes_no_quota() -> None:
    with api_world() as world:
        push = next(call for call in CALLS if call.name == "push p2p")
        for members, status in (({"toAccount": 7}, 400), ({"fromAccount": "eve"}, 403)):
            assert world.make(push, bearer(), members).status_code == status
        assert world.admission.calls.count(("client_per_account", "1000")) == 2
        world.blocks.block("1000")
        assert world.make(push, bearer(), {"toAccount": 7}).status_code == 401
        assert world.make(push, bearer()).status_code == 401
        world.blocks.unblock("1000")
        world.admission.spent["client_per_account", "1000"] = 5.0
        for headers in ({}, {"Idempotency-Key": "k"}):
            assert world.make(push, {**bearer(), **headers}).status_code == 429
        assert (world.quotas.taken, world.service.requests) == ([], [])


def test_the_largest_message_passes_and_a_larger_one_is_refused_by_name(world: ApiWorld) -> None:
    push = next(call for call in CALLS if call.name == "push p2p")
    assert world.make(push, bearer(), {"msg": "x" * MOST_PAYLOAD}).status_code == 200
    answer = world.make(push, bearer(), {"msg": "x" * (MOST_PAYLOAD + 1)})
    assert (answer.status_code, json_of(answer)["message"].partition(":")[0]) == (400, "msg")


def test_a_user_in_a_loop_fills_the_store_with_keys_no_further_than_a_day_allows() -> None:
    """Each is kept for a day. Without one the call is made, and a service has as many as it may call."""
    with api_world() as world:
        leave = next(call for call in CALLS if call.name == "topic leave")
        world.admission.spent[("idempotency_keys_per_account", "1000")] = 60.0
        refused = world.make(leave, {**bearer(), "Idempotency-Key": "k"})
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
        assert world.make(leave, bearer()).status_code == 200
        assert len(world.service.requests) == 1


def test_a_page_of_another_origin_may_not_call(world: ApiWorld) -> None:
    topics = next(call for call in CALLS if call.name == "topic list")
    assert world.make(topics, {**bearer(), "Origin": ORIGIN}).status_code == 200
    assert world.make(topics, {**bearer(), "Origin": "https://elsewhere.example"}).status_code == 403
    asked = world.client.options(topics.path.replace("<app_id>", APP_ID), headers={"Origin": ORIGIN})
    allowed = set(asked.headers["Access-Control-Allow-Headers"].split(", "))
    assert {"Idempotency-Key", *(name for call in CALLS for name in call.headers)} <= allowed
    assert allowed >= CREDENTIALS  # dropped, but a page that changed nothing but the host sends them


def _without_a_word(conversation: Conversation) -> None:
    conversation.receive()


def test_a_change_without_an_answer_says_that_it_may_have_been_made() -> None:
    with api_world(_without_a_word) as world:
        leave = next(call for call in CALLS if call.name == "topic leave")
        answer = world.make(leave, bearer())
        read = world.make(next(call for call in CALLS if call.name == "topic list"), bearer())
    assert answer.status_code == 504
    assert "may have been carried out" in json_of(answer)["message"]
    assert read.status_code == 502


def test_a_line_tells_who_called_what_and_nothing_of_what_was_said(world: ApiWorld) -> None:
    push = next(call for call in CALLS if call.name == "push p2p")
    with capture_logs() as lines:
        world.make(push, bearer())
        world.make(push, world.service_with(Scope.PUSH_SEND))
    told = [line for line in lines if line.get("what") == "MIMC called"]
    assert [(line["call"], line["account"], line["app"], line["code"]) for line in told] == [
        ("push p2p", "1000", "main", 200), ("push p2p", "system", "main", 200),
    ]  # fmt: skip
    who = [redact(None, "info", line) for line in told]
    assert (who[0]["backend"], who[1]["api_key_id"], who[1]["api_key_name"]) == ("jwt", "id", "bot")
    assert not [word for word in ("canary words", "ak_", "the-mimc-token", "b64-demo-secret") if word in repr(lines)]


def test_where_no_app_opens_them_there_are_neither_routes_nor_modules() -> None:
    document = {"auth": {"jwt": {"own": {"secret": JWT_KEY}}}, "apps": {"main": app_section()}}
    program = (
        "import sys; from proxy.app import create_app; from proxy.wiring.web import web_services\n"
        f"from proxy.settings import Settings; made = create_app(web_services(Settings.model_validate({document!r})))\n"
        "assert not [r for r in made.url_map.iter_rules() if '/api/topic' in r.rule or '/api/push' in r.rule]\n"
        "print([m for m in sys.modules if m.startswith('proxy.')])"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not [name for name in ("mimc.api", "mimc.calls", "user_tokens", "api_keys", "api_calls") if name in loaded]


def test_each_family_opens_its_own_calls_alone() -> None:
    with upstream(answering(GOOD)) as service:
        for family in Family:
            world = ApiWorld(service)
            main = app_section(base_url=service.url, api=[family.value])
            world.settings = settings({"main": main})
            app = create_app(replace(world.services, settings=world.settings))
            rules = {(rule.rule, *(rule.methods or ())) for rule in app.url_map.iter_rules()}
            paths = {rule[0].replace("digits:", "").rstrip("/") for rule in rules}
            assert paths >= {call.path.rstrip("/") for call in CALLS if call.family is family}
            assert not paths & {call.path.rstrip("/") for call in CALLS if call.family is not family}


def test_a_service_with_the_scope_reads_devices_of_any_account(world: ApiWorld) -> None:
    device = {"app": "main", "platform": "http", "push_token": "t"}
    assert world.client.put("/api/devices/phone", json=device, headers=bearer("ann")).status_code in (200, 409)
    shown = world.service_with(Scope.DEVICES_READ)
    for path, status in (
        ("?account=ann", 200),
        ("", 400),
        ("?account=ann&app=other", 403),
        ("/phone?account=bob", 404),
    ):
        assert world.client.get(f"/api/devices{path}", headers=shown).status_code == status, path
    raw = {"QUERY_STRING": "account=\xff"}  # no UTF-8, and not in percent encoding either
    assert world.client.get("/api/devices", headers=shown, environ_overrides=raw).status_code == 400
    assert world.client.get("/api/devices?account=ann", headers=world.service_with(Scope.PUSH_SEND)).status_code == 403
    assert world.client.delete("/api/devices/phone?app=main&account=ann", headers=shown).status_code == 403
    mine = json_of(world.client.get("/api/devices?account=ann&app=main", headers=bearer("bob")))
    assert mine["data"] == []  # a user sees their own, whatever they ask
