"""Every client's route, whatever is put into it: the right status in the envelope, and nothing of it comes back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from proxy.app import create_app
from proxy.store.connection import Store
from proxy.store.users.blocks import RedisBlocks
from proxy.wiring.web import built_in_accounts
from tests.web.world import JWT_KEY, ORIGIN, World, app_section, bearer, mipush_section, settings

CANARY = "canary7f3a"

# what a field is given; the status is 400 unless the field's row says otherwise
VALUES: Mapping[str, object] = {
    "null": None,
    "boolean": True,
    "integer": 7,
    "negative": -7,
    "big integer": 10**30,
    "float": 1.5,
    "huge": 1e300,
    "empty text": "",
    "text": CANARY,
    "padded": f" {CANARY} ",
    "10 KB": CANARY * 1000,
    "control": f"{CANARY}\u0000",
    "newline": f"{CANARY}\n",
    "surrogate": f"{CANARY}\ud800",
    "bidi": f"\u202e{CANARY}",
    "markup": f"<script>{CANARY}</script>",
    "traversal": f"../../{CANARY}",
    "array": [CANARY],
    "object": {CANARY: CANARY},
    "nested": [[[[{CANARY: [CANARY]}]]]],
}
ANY_TEXT = (
    "empty text", "text", "padded", "10 KB", "control", "newline", "surrogate", "bidi", "markup", "traversal"
)  # fmt: skip

WELL_NAMED = ("text", "padded", "markup", "traversal")


@dataclass(frozen=True)
class Route:
    """A route with a body. `fields` says per field which values are answered otherwise than 400."""

    method: str
    rule: str
    body: Mapping[str, object]
    fields: Mapping[str, Mapping[str, int]]


ROUTES = (
    Route(
        "POST",
        "/api/account/token",
        {},
        {
            "appAccount": {"null": 200} | dict.fromkeys(ANY_TEXT, 403),
            "appId": {"null": 200} | dict.fromkeys((*ANY_TEXT, "integer", "negative", "big integer"), 404),
        },
    ),
    Route(
        "PUT",
        "/api/devices/<device_id>",
        {"platform": "mipush", "push_token": "reg"},
        {
            "app": {"null": 200} | dict.fromkeys(ANY_TEXT, 404),
            "platform": {},
            "push_token": {"text": 200, "markup": 200, "traversal": 200},
            "environment": {"null": 200},
            "locale": {"null": 200, "empty text": 200, "text": 200},
            "resource": dict.fromkeys(("null", "empty text", *WELL_NAMED), 200),
            CANARY: {},
        },
    ),
    Route(
        "POST",
        "/auth/login",
        {"account": "nobody", "password": "a wrong password"},
        {
            "account": dict.fromkeys(WELL_NAMED, 401),
            "password": dict.fromkeys((*WELL_NAMED, "control", "newline", "bidi"), 401),
            "cookie": {"boolean": 403},  # without the header that a browser's call must carry
            "app": {"null": 401} | dict.fromkeys(ANY_TEXT, 404),
            "device_id": dict.fromkeys(("null", *WELL_NAMED), 401),
        },
    ),
    Route(
        "PUT",
        "/api/preferences",
        {"quiet_hours": {"from": "22:00", "to": "07:00", "time_zone": "Asia/Shanghai"}},
        {
            "app": {"null": 200} | dict.fromkeys(ANY_TEXT, 404),
            "mutes": {"null": 200},
            "quiet_hours": {"null": 200},
            "preview": {"null": 200},
            CANARY: {},
        },
    ),
    Route(
        "POST",
        "/api/badge",
        {"conversation": {"account": "ann"}},
        {"app": {"null": 200} | dict.fromkeys(ANY_TEXT, 404), "conversation": {"null": 200}},
    ),
    Route("POST", "/auth/refresh", {}, {"refresh_token": dict.fromkeys(ANY_TEXT, 401)}),
    Route("POST", "/auth/logout", {}, {"device_id": dict.fromkeys(("null", *WELL_NAMED), 200)}),
)
CASES = [
    pytest.param(route, field, value, expected.get(name, 400), id=f"{route.rule}-{field}-{name}")
    for route in ROUTES
    for field, expected in route.fields.items()
    for name, value in VALUES.items()
]

_TEXT = CANARY.encode()
DOCUMENTS: Mapping[str, tuple[bytes, int]] = {
    "no JSON": (_TEXT, 400),
    "an array": (b'["%s"]' % _TEXT, 400),
    "a text": (b'"%s"' % _TEXT, 400),
    "null": (b"null", 400),
    "cut short": (b'{"%s":"' % _TEXT, 400),
    "two documents": (b'{}{"%s":1}' % _TEXT, 400),
    "invalid UTF-8": (b'{"%s":"\xff\xfe"}' % _TEXT, 400),
    "an overlong NUL": (b'{"%s":"\xc0\x80"}' % _TEXT, 400),
    "a surrogate in UTF-8": (b'{"%s":"\xed\xa0\x80"}' % _TEXT, 400),
    "UTF-16": (json.dumps({CANARY: 1}).encode("utf-16"), 400),
    "a byte order mark": (b"\xef\xbb\xbf{}", 400),
    "NaN": (b'{"%s":NaN}' % _TEXT, 400),
    "infinity": (b'{"%s":-Infinity}' % _TEXT, 400),
    "a member twice": (b'{"%s":1,"%s":1}' % (_TEXT, _TEXT), 400),
    "a member twice, once escaped": (b'{"appId":"%s","app\\u0049d":null}' % _TEXT, 400),
    "a member twice within": (b'{"appId":{"%s":1,"%s":2}}' % (_TEXT, _TEXT), 400),
    "deep arrays": (b"[" * 60_000, 400),
    "deep objects": (b'{"%s":' % _TEXT * 3_000, 400),
    "deep and whole": (b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}", 400),
    "a number of 60,000 digits": (b'{"appId":%s}' % (b"9" * 60_000), 400),
    "gzip": (b"\x1f\x8b\x08\x00" + _TEXT, 400),
    "a form": (b"appId=%s&appAccount=1" % _TEXT, 400),
    "64 KiB and one byte": (b" " * 65_537, 413),
}
HEADERS: Mapping[str, Mapping[str, str]] = {
    "a huge bearer": {"Authorization": "Bearer " + CANARY * 10_000},
    "another scheme": {"Authorization": f"Basic {CANARY}"},
    "two bearers": {"Authorization": f"Bearer {CANARY}, Bearer {CANARY}"},
    "bytes": {"Authorization": f"Bearer \xff\xfe{CANARY}"},
    "a huge cookie": {"Cookie": f"session={CANARY * 5_000}; remember_token=1000|{CANARY}"},
    "a cookie of nobody": {"Cookie": f"__Host-app-proxy={CANARY}.x.y; app-proxy={CANARY}"},
}
OPEN = ("/auth/login", "/auth/refresh")


by_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.rule)


class Caller:
    """A signed-in user, once of the developer's own system and once of the built-in accounts."""

    def __init__(self, database: Path, blocks: RedisBlocks) -> None:
        accounts = {"key": "a key of the tests, used nowhere else 012345", "database": str(database)}
        auth = {"jwt": {"own": {"secret": JWT_KEY}}, "accounts": accounts}
        self.world = World(settings({"main": app_section(mipush=mipush_section())}, auth=auth, alerts={"badge": True}))
        self.sign_ins = built_in_accounts(self.world.settings.auth.accounts, blocks)
        self.app = create_app(replace(self.world.services, sign_ins=self.sign_ins))

    def proof(self, path: str) -> dict[str, str]:
        if path != "/auth/logout":
            return bearer()
        assert self.sign_ins is not None
        token = self.sign_ins.tokens.access("ann", self.sign_ins.tokens.new_session_id(), datetime.now(UTC))
        return {"Authorization": f"Bearer {token}"}

    def send(self, method: str, rule: str, body: bytes, headers: Mapping[str, str] | None = None) -> TestResponse:
        """The answer, of which nothing that was sent, and no trace, is left in itself or in the log."""
        path = rule.replace("<device_id>", "phone")
        sent = {"Origin": ORIGIN} | (self.proof(path) if headers is None else dict(headers))
        with capture_logs() as lines:
            answer = self.app.test_client().open(path, method=method, data=body, headers=sent)
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Set-Cookie" not in answer.headers
        if answer.status_code != 200:
            assert json.loads(answer.data).keys() == {"code", "message", "data"}
            assert json.loads(answer.data)["code"] == answer.status_code
            for told in (answer.text, str(answer.headers), repr([line for line in lines if line["event"] != "audit"])):
                assert CANARY not in told
                assert "Traceback" not in told
                assert ".py" not in told
        return answer


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory, store_url: str) -> Caller:
    return Caller(tmp_path_factory.mktemp("accounts") / "accounts.sqlite3", RedisBlocks(Store(store_url)))


def test_every_clients_route_with_a_body_is_in_the_corpus() -> None:
    app = World().app
    takers = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in {"POST", "PUT", "PATCH"} & set(rule.methods or ())
        if rule.rule.startswith(("/api/", "/auth/"))
    }
    assert takers == {(route.method, route.rule) for route in ROUTES}


@pytest.mark.parametrize(("route", "field", "value", "status"), CASES)
def test_a_wrong_value_in_any_field_has_its_status(
    caller: Caller, route: Route, field: str, value: object, status: int
) -> None:
    answer = caller.send(route.method, route.rule, json.dumps({**route.body, field: value}).encode())
    assert answer.status_code == status
    if status in (400, 404) and field != CANARY:
        assert json.loads(answer.data)["message"].startswith(f"{field}: ")


@by_route
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_body_that_is_no_json_object_is_refused(caller: Caller, route: Route, name: str) -> None:
    body, status = DOCUMENTS[name]
    assert caller.send(route.method, route.rule, body).status_code == status


@pytest.mark.parametrize("route", [it for it in ROUTES if it.rule not in OPEN], ids=lambda route: route.rule)
@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_proves_no_user_is_401(caller: Caller, route: Route, name: str) -> None:
    assert caller.send(route.method, route.rule, b"{}", HEADERS[name]).status_code == 401


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("query", [f"app={CANARY}", "app=%ff%fe", "app=", f"app={CANARY * 500}", "app=%00"])
def test_a_section_in_the_query_that_is_not_configured_is_404(caller: Caller, method: str, query: str) -> None:
    assert caller.send(method, f"/api/devices/phone?{query}", b"").status_code == 404


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_query_of_raw_bytes_that_are_no_utf8_is_400(caller: Caller, method: str) -> None:
    path = "/api/devices/phone"
    answer = caller.app.test_client().open(
        path, method=method, headers=caller.proof(path), environ_overrides={"QUERY_STRING": "app=\xff"}
    )
    assert (answer.status_code, json.loads(answer.data)["code"]) == (400, 400)
