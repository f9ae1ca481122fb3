"""The token broker's route."""

import base64
import json
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta

import jwt
import pytest
from structlog.testing import capture_logs

from proxy.app import create_app
from proxy.auth import Credentials, Refused
from proxy.domain.transfers import FailureKind, Paused, Response, TransportFailure
from proxy.metrics import WEB
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.users.presence import RedisPresence
from proxy.wiring.web import web_services
from tests.auth.endpoint import always, endpoint
from tests.mimc.upstream import answering, http, upstream
from tests.store.samples import LAYOUT, raw
from tests.web.world import APP_ID, ORIGIN, OTHER_APP_ID, World, app_section, bearer, other_section, settings

PATH = "/api/account/token"


def two_apps() -> World:
    return World(settings({"main": app_section(), "other": other_section()}))


def test_the_answer_goes_back_byte_for_byte() -> None:
    world = World()
    body = b'{ "code" : 200,\t"message":"\\u6210", "unknown": 2882303761517000001.50 }\r\n\x00\xff'
    world.tokens.answer = Response(200, {"content-type": "Application/JSON;Charset=utf-8", "set-cookie": "a=b"}, body)
    answer = world.client.post(PATH, headers=bearer())
    assert (answer.status_code, answer.data) == (200, body)
    assert answer.headers["Content-Type"] == "Application/JSON;Charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers
    assert world.tokens.calls == [("main", "1000")]


def test_a_token_call_shows_that_the_account_is_in_use() -> None:
    world = two_apps()
    world.client.post(PATH, headers=bearer(), json={"appId": OTHER_APP_ID})
    assert world.admission.lifted == [("1000", None)]


@pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 429, 500, 503])
def test_whatever_status_comes_goes_back(status: int) -> None:
    world = World()
    world.tokens.answer = Response(status, {}, b"<html>")
    answer = world.client.post(PATH, headers=bearer())
    assert (answer.status_code, answer.data) == (status, b"<html>")
    assert "Content-Type" not in answer.headers


@pytest.mark.parametrize(
    ("reason", "status"),
    [("no answer in time", 504), ("connection refused", 502), ("certificate not trusted", 502), ("not HTTP", 502)],
)
def test_no_answer_is_an_envelope_that_names_the_reason(reason: str, status: int) -> None:
    world = World()
    world.tokens.answer = TransportFailure(reason, FailureKind.UNREACHABLE)
    answer = world.client.post(PATH, headers=bearer() | {"Origin": ORIGIN})
    assert answer.status_code == status
    assert answer.json == {"code": status, "message": f"MIMC's TokenService: {reason}", "data": None}
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer e30.e30.e30"}])
def test_no_token_is_given_without_a_proof(headers: dict[str, str]) -> None:
    world = World()
    answer = world.client.post(PATH, headers=headers, json={"appAccount": "1000"})
    assert answer.status_code == 401
    assert answer.json == {"code": 401, "message": "sign in first", "data": None}
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert world.tokens.calls == []


def test_a_proof_of_which_nothing_can_be_decided_yet_is_503_with_the_time_to_wait() -> None:
    token = jwt.encode({"sub": "alice", "exp": int(time.time()) + 600}, "", "none", {"kid": "new"})
    head = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"new"}').rstrip(b"=").decode()
    shown = {"Authorization": f"Bearer {head}.{token.split('.')[1]}.{'A' * 342}"}
    with endpoint(always(503)) as issuer:
        world = World(settings(auth={"jwt": {"own": {"jwks_url": issuer.url}}}))
        answer = world.client.post(PATH, headers=shown)
    assert answer.status_code == 503
    assert 1 <= int(answer.headers["Retry-After"]) <= 5


@dataclass
class Seen:
    """Implements the authenticator; knows nobody."""

    shown: list[Credentials] = field(default_factory=list)

    def authenticate(self, credentials: Credentials) -> Refused:
        self.shown.append(credentials)
        return Refused("a stranger")


def test_callers_are_told_apart_by_the_network_that_they_call_from() -> None:
    seen = Seen()
    client = create_app(replace(World().services, authenticator=seen)).test_client()  # type: ignore[arg-type]
    for address in ("192.0.2.7", "2001:db8::1", "2001:db8::2"):
        client.post(PATH, environ_base={"REMOTE_ADDR": address})
    assert [it.client for it in seen.shown] == ["192.0.2.7", "2001:db8::/64", "2001:db8::/64"]


def test_a_remember_cookie_does_not_keep_the_bearer_from_being_read() -> None:
    answer = World().client.post(PATH, headers=bearer() | {"Cookie": "remember_token=a|b; session=x; ;=y"})
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 200, None),
        (b" \r\n", 200, None),
        (b"{}", 200, None),
        (b'{"appAccount":"1000","appKey":"k","appSecret":"s","regionKey":"REGION_CN"}', 200, None),
        (b'{"appId":2882303761517000001,"appAccount":null}', 200, None),
        (b'{"appId":"2882303761517000001"}', 200, None),
        (b'{"appAccount":"1001"}', 403, "appAccount: is not the signed-in user"),
        (b'{"appAccount":1000}', 400, "appAccount: expected a string, got number"),
        (b'{"appId":"2882303761517999999"}', 404, "appId: is not configured here"),
        (b'{"appId":true}', 400, "appId: expected a string or an integer, got boolean"),
        (b'{"appId":1e3}', 400, "appId: expected a string or an integer, got number"),
        (b"[]", 400, "body: expected a JSON object, got array"),
        (b"{", 400, "body: expected a JSON object in UTF-8, got bytes"),
        (b"\xff\xfe", 400, "body: expected a JSON object in UTF-8, got bytes"),
        (b"[" * 60_000, 400, "body: expected a JSON object in UTF-8, got bytes"),
        (b"9" * 60_000, 400, "body: expected a JSON object in UTF-8, got bytes"),
        (b" " * 65_537, 413, "body: expected at most 65536 bytes"),
    ],
)
def test_the_body_may_choose_an_app_and_never_a_user(body: bytes, status: int, message: str | None) -> None:
    world = World()
    answer = world.client.post(PATH, headers=bearer(), data=body)
    assert answer.status_code == status
    if message is not None:
        assert answer.json == {"code": status, "message": message, "data": None}
        assert world.tokens.calls == []


def test_with_several_apps_the_body_must_say_which() -> None:
    world = two_apps()
    answer = world.client.post(PATH, headers=bearer())
    assert answer.status_code == 400
    assert json.loads(answer.data)["message"].endswith("one of the configured apps, got nothing")
    assert world.client.post(PATH, headers=bearer(), json={"appId": OTHER_APP_ID}).status_code == 200
    assert world.tokens.calls == [("other", "1000")]


def test_sections_of_one_app_are_one_app() -> None:
    world = World(settings({"main": app_section(), "pad": app_section(url_secret="url-secret-of-the-pad-0000000000")}))
    assert world.client.post(PATH, headers=bearer()).status_code == 200
    assert world.client.post(PATH, headers=bearer(), json={"appId": APP_ID}).status_code == 200
    assert world.tokens.calls == [("main", "1000"), ("main", "1000")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_405(method: str) -> None:
    answer = World().client.open(PATH, method=method, headers={"Origin": ORIGIN})
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    if method != "HEAD":
        assert answer.json == {"code": 405, "message": "method not allowed", "data": None}


def test_a_bug_is_an_envelope_without_content_that_the_page_may_read() -> None:
    world = World()
    world.tokens.answer = ZeroDivisionError("secret content")
    answer = world.client.post(PATH, headers=bearer() | {"Origin": ORIGIN})
    assert answer.status_code == 500
    assert answer.json == {"code": 500, "message": "internal server error", "data": None}
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Response(200, {}, b'{"code":200,"data":{"token":"x"}}'), None),
        (Response(200, {}, b'{"code":401,"message":"words of theirs"}'), "MIMC's code 401"),
        (Response(200, {}, b'{"code":200,"data":{"token":""}}'), "MIMC's code 200 without a token"),
        (Response(200, {}, b'{"code":"200"}'), "HTTP 200 without MIMC's code"),
        (Response(502, {}, b"<html>"), "HTTP 502 without MIMC's code"),
        (Response(200, {}, b'{"code":12345678}'), "MIMC's code is none"),
        (TransportFailure("no answer in time", FailureKind.TIMED_OUT), "no answer in time"),
    ],
)
def test_mimc_s_own_code_is_counted_and_in_the_audit(answer: Response | TransportFailure, reason: str | None) -> None:
    world = World()
    world.tokens.answer = answer
    before = counted(reason)
    with capture_logs() as logs:
        world.client.post(PATH, headers=bearer())
    (line,) = [line for line in logs if line.get("what") == "token asked"]
    assert line.get("refused") == reason
    assert counted(reason) == before + 1
    failed = world.services.token_monitor.take().failed
    assert [why for _, why in failed.values()] == ([reason] if reason else [])


def counted(reason: str | None) -> float:
    labels = {"app": "main", "answer": reason or "token"}
    return WEB.get_sample_value("app_proxy_token_answers_total", labels) or 0.0


def test_a_wrong_app_key_is_in_readyz_with_mimc_s_code(store_url: str) -> None:
    """Of a web process as it is wired, with its store and a TokenService that refuses under HTTP 200."""
    with upstream(answering(http(b'{"code":401,"message":"","data":null}'))) as service:
        configured = settings({"wrong-key": app_section(base_url=service.url)}, store={"url": store_url})
        services = web_services(configured)
        client = create_app(services).test_client()
        assert client.post(PATH, headers=bearer()).status_code == 200
        details = services.health.check().details
        Store(store_url).call(lambda redis: redis.hdel(keys.tokens(), "wrong-key\nfailed"))
    assert "MIMC's code 401" in details["tokens of wrong-key"]


def test_who_was_given_a_token_is_present_for_a_while_where_that_counts(store: Store, app_id: str) -> None:
    world = World()
    presence = RedisPresence(store, {"main": app_id}, timedelta(seconds=60))
    client = create_app(replace(world.services, presence=presence)).test_client()

    def left_ms() -> int:
        left: int = raw(store, "PTTL", LAYOUT.present(app_id, "1000"))
        return left

    client.post(PATH, headers=bearer())  # the answer holds no token
    assert left_ms() < 0
    world.tokens.answer = Response(200, {}, b'{"code":200,"data":{"token":"t"}}')
    client.post(PATH, headers=bearer())
    assert 0 < left_ms() <= 60_000


def test_while_the_token_service_is_paused_the_client_is_told_when_to_come_back() -> None:
    world = World()
    world.tokens.answer = Paused(1.2)
    answer = world.client.post(PATH, headers=bearer())
    assert answer.json == {"code": 503, "message": "MIMC's TokenService gave no answers lately", "data": None}
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
