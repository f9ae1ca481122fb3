"""Sign-in of the built-in accounts, for clients with tokens and for browsers with a cookie."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import g, session
from flask.sessions import NullSession
from flask.testing import FlaskClient
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from proxy.app import create_app
from proxy.domain.devices import Device, Platform
from proxy.errors import StoreUnavailable
from tests.auth.members import KEY, PASSWORD, Members
from tests.web.test_callbacks import offline
from tests.web.world import JWT_KEY, NOW, ORIGIN, URL_SECRET, World, app_section, bearer, other_section, settings

HERE = "https://localhost"
PAGE = {"Origin": ORIGIN, "X-App-Proxy": "1"}
COOKIE = "__Host-app-proxy"
WRONG = {"code": 401, "message": "account or password is wrong", "data": None}


class Club(World):
    """The application with alice and bob, besides users of the developer's own JWTs. Its clock is the real one."""

    def __init__(self, folder: Path, **accounts: object) -> None:
        auth = {"jwt": {"own": {"secret": JWT_KEY}}, "accounts": {"key": KEY} | accounts}
        apps = {"main": app_section(), "other": other_section()}
        super().__init__(settings(apps, auth=auth))
        self.members = Members(folder)
        self.marks = self.members.marks
        self.admission.blocks = self.marks
        self.services = replace(self.services, sign_ins=self.members.sign_ins, now=lambda: datetime.now(UTC))
        self.app = create_app(self.services)


@pytest.fixture
def club(tmp_path: Path) -> Iterator[Club]:
    made = Club(tmp_path)
    yield made
    made.members.accounts.close()


def data(answer: TestResponse, status: int = 200) -> Any:
    shown = json.loads(answer.data)
    assert (answer.status_code, shown["code"]) == (status, status), shown
    assert answer.headers["Cache-Control"] == "no-store"
    return shown["data"]


def login(client: FlaskClient, headers: dict[str, str] | None = None, **body: object) -> TestResponse:
    asked = {"account": "alice", "password": PASSWORD} | body
    return client.post("/auth/login", json=asked, headers=headers, base_url=HERE)


def browser(club: Club, **body: object) -> FlaskClient:
    """A browser in which alice is signed in."""
    client = club.client
    data(login(client, PAGE, cookie=True, **body))
    return client


def shown(access_token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {access_token}"}


def me(client: FlaskClient, headers: dict[str, str] | None = None) -> TestResponse:
    return client.get("/auth/me", headers=headers, base_url=HERE)


def ask(client: FlaskClient, headers: dict[str, str]) -> TestResponse:
    return client.post(
        "/api/account/token", json={"appId": app_section()["app_id"]}, headers=headers, base_url=HERE
    )  # fmt: skip


def test_a_client_signs_in_asks_for_a_token_refreshes_and_signs_out(club: Club) -> None:
    client = club.client
    first = data(login(client))
    assert (first["account"], first["expires_in"]) == ("alice", 900)
    assert data(me(client, shown(first["access_token"]))) == {"account": "alice", "backend": "accounts", "app": None}
    assert ask(client, shown(first["access_token"])).status_code == 200
    second = data(client.post("/auth/refresh", json={"refresh_token": first["refresh_token"]}))
    assert second["refresh_token"] != first["refresh_token"]
    data(client.post("/auth/logout", headers=shown(second["access_token"])))
    for token in (first["access_token"], second["access_token"]):
        assert data(me(client, shown(token)), 401) is None
    assert data(client.post("/auth/refresh", json={"refresh_token": second["refresh_token"]}), 401) is None
    assert club.tokens.calls == [("main", "alice")]


def test_no_cookie_is_set_where_none_was_asked_for(club: Club) -> None:
    client = club.client
    answers = [login(client), login(client, password="incorrect"), me(client)]
    assert not any("Set-Cookie" in answer.headers for answer in answers)


def test_a_refresh_token_used_twice_ends_the_access_tokens_too(club: Club) -> None:
    client = club.client
    first = data(login(client))
    second = data(client.post("/auth/refresh", json={"refresh_token": first["refresh_token"]}))
    answer = client.post("/auth/refresh", json={"refresh_token": first["refresh_token"]})
    assert answer.json == {"code": 401, "message": "the refresh token was used before; sign in again", "data": None}
    assert ask(client, shown(second["access_token"])).status_code == 401


@pytest.mark.parametrize("body", [{"password": "incorrect"}, {"account": "nobody"}, {"account": "ALICE"}])
def test_a_refused_sign_in_does_not_say_why(club: Club, body: dict[str, object]) -> None:
    answer = login(club.client, None, **body)
    assert (answer.status_code, answer.json) == (401, WRONG)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"account": None}, "account: expected an account, got nothing"),
        ({"account": 7}, "account: expected an account, got number"),
        ({"account": "a\u202eb"}, "account: expected an account, got string"),
        ({"account": "a" * 257}, "account: expected an account, got string"),
        ({"password": None}, "password: expected 1 to 1024 bytes of text, got nothing"),
        ({"password": ["x"]}, "password: expected 1 to 1024 bytes of text, got array"),
        ({"password": ""}, "password: expected 1 to 1024 bytes of text, got string"),
        ({"password": "\u00e4" * 513}, "password: expected 1 to 1024 bytes of text, got string"),
        ({"password": "a\ud800b"}, "password: expected 1 to 1024 bytes of text, got string"),
        ({"cookie": "yes"}, "cookie: expected true or false, got string"),
        ({"device_id": 7}, "device_id: expected a string, got number"),
        ({"device_id": "a\nb"}, "device_id: expected 1 to 128 printable characters, got string"),
        ({"app": 7}, "app: expected a string, got number"),
    ],
)
def test_a_body_of_another_shape_is_400_and_not_repeated(club: Club, body: dict[str, object], message: str) -> None:
    answer = login(club.client, None, **body)
    assert answer.json == {"code": 400, "message": message, "data": None}


def test_an_app_that_is_not_configured_is_404(club: Club) -> None:
    assert data(login(club.client, app="third"), 404) is None


@pytest.mark.parametrize("shown_token", [None, 7, [], {}])
def test_a_refresh_without_a_text_is_400(club: Club, shown_token: object) -> None:
    assert data(club.client.post("/auth/refresh", json={"refresh_token": shown_token}), 400) is None


def test_signing_out_removes_the_device_of_the_session(club: Club) -> None:
    for app, device_id in (("main", "phone"), ("other", "phone"), ("main", "pad")):
        club.devices.register(Device(app, "alice", device_id, Platform.APNS, "ab" * 32, NOW))
    client = club.client
    pair = data(login(client, app="main", device_id="phone"))
    data(client.post("/auth/logout", headers=shown(pair["access_token"])))
    assert set(club.devices.stored) == {("other", "alice", "phone"), ("main", "alice", "pad")}
    pair = data(login(client))
    data(client.post("/auth/logout", json={"device_id": "pad"}, headers=shown(pair["access_token"])))
    assert set(club.devices.stored) == {("other", "alice", "phone")}


def test_without_the_store_no_user_signs_in_or_is_signed_out(club: Club) -> None:
    client = club.client
    pair = data(login(client))
    club.marks.failure = StoreUnavailable("the store does not answer")
    for answer in (
        login(client),
        ask(client, shown(pair["access_token"])),
        client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]}),
        client.post("/auth/logout", headers=shown(pair["access_token"])),
    ):
        assert data(answer, 503) is None
        assert answer.headers["Retry-After"] == "5"
    club.marks.failure = None
    data(client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]}))


def test_sign_in_is_counted_against_address_and_account(club: Club) -> None:
    login(club.client, account="nobody")
    assert club.admission.calls == [("sign_in_per_address", "127.0.0.1"), ("sign_in_per_account", "nobody")]
    club.admission.spent["sign_in_per_account", "alice"] = 30.0
    assert data(login(club.client), 429) is None


def test_strangers_who_use_up_the_tries_of_an_account_do_not_lock_its_user_out(club: Club) -> None:
    assert data(login(club.client))["account"] == "alice"
    club.admission.spent["sign_in_per_account", "alice"] = 30.0
    assert data(login(club.client))["account"] == "alice"
    assert club.admission.calls[-1] == ("sign_in_known_account", "127.0.0.1 alice")
    elsewhere = club.client.post(
        "/auth/login", json={"account": "alice", "password": PASSWORD}, environ_base={"REMOTE_ADDR": "198.51.100.9"}
    )
    assert data(elsewhere, 429) is None
    club.admission.spent["sign_in_known_account", "127.0.0.1 alice"] = 30.0
    assert data(login(club.client), 429) is None


def test_a_wrong_password_makes_no_address_a_known_one(club: Club) -> None:
    assert data(login(club.client, password="wrong"), 401) is None
    assert club.admission.signed_in == set()


def test_users_of_other_backends_are_known_and_sign_out_elsewhere(club: Club) -> None:
    client = club.client
    assert data(me(client, bearer("1000")))["backend"] == "jwt"
    assert data(client.post("/auth/logout", headers=bearer("1000")), 403) is None


def test_without_built_in_accounts_there_is_no_sign_in() -> None:
    client = World().client
    for path in ("login", "refresh"):
        assert data(client.post(f"/auth/{path}", json={}), 404) is None
    assert data(me(client, bearer("1000")))["account"] == "1000"


# browsers


def test_a_browser_gets_a_cookie_that_its_pages_cannot_read_and_no_token(club: Club) -> None:
    answer = login(club.client, PAGE, cookie=True)
    assert data(answer) == {"account": "alice", "expires_in": 30 * 86400}
    name, _, attributes = answer.headers["Set-Cookie"].partition("=")
    assert name == COOKIE
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} < set(attributes.split("; "))
    assert "Domain" not in attributes
    assert "alice" not in attributes


def test_a_cookie_proves_its_user_until_they_sign_out(club: Club) -> None:
    client = browser(club)
    kept = client.get_cookie(COOKIE, "localhost")
    assert kept is not None
    assert data(me(client))["account"] == "alice"
    assert ask(client, PAGE).status_code == 200
    answer = client.post("/auth/logout", headers=PAGE, base_url=HERE)
    assert answer.headers["Set-Cookie"].startswith(f"{COOKIE}=; Expires=Thu, 01 Jan 1970")
    client.set_cookie(COOKIE, kept.value, domain="localhost", secure=True)  # a copy of it
    assert data(me(client), 401) is None


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "X-App-Proxy: send this header, with any value, along with a cookie"),
        ({"Origin": ORIGIN}, "X-App-Proxy: send this header, with any value, along with a cookie"),
        ({"X-App-Proxy": "1"}, "Origin: is not allowed"),
        ({"X-App-Proxy": "1", "Origin": "null"}, "Origin: is not allowed"),
        ({"X-App-Proxy": "1", "Origin": "https://evil.example"}, "Origin: is not allowed"),
        ({"X-App-Proxy": "1", "Origin": ORIGIN + ".evil.example"}, "Origin: is not allowed"),
        ({"X-App-Proxy": "1", "Origin": "http://localhost"}, "Origin: is not allowed"),  # ours, but readable on its way
    ],
)
def test_wherever_a_cookie_counts_a_foreign_page_can_do_nothing(
    club: Club, headers: dict[str, str], message: str
) -> None:
    client = browser(club)
    calls = [
        ("POST", "/api/account/token"),
        ("PUT", "/api/devices/phone"),
        ("DELETE", "/api/devices/phone"),
        ("POST", "/auth/logout"),
    ]
    answers = [client.open(path, method=method, json={}, headers=headers, base_url=HERE) for method, path in calls]
    answers.append(login(club.client, headers, cookie=True))
    for answer in answers:
        assert answer.json == {"code": 403, "message": message, "data": None}
        assert "Set-Cookie" not in answer.headers
    assert club.tokens.calls == []
    assert me(client).status_code == 200


def test_a_page_of_this_very_host_may_act(club: Club) -> None:
    client = browser(club)
    assert ask(client, {"X-App-Proxy": "1", "Origin": HERE}).status_code == 200


def test_what_a_page_shows_itself_counts_before_the_cookie(club: Club) -> None:
    client = browser(club)
    assert data(me(client, bearer("1000")))["account"] == "1000"
    assert data(me(client, {"Authorization": "Bearer x.y.z"}), 401) is None
    assert ask(client, bearer("1000")).status_code == 200


@pytest.mark.parametrize("value", ["", "x", ".eJx.a.b", "a" * 3000])
def test_a_made_up_cookie_proves_no_user(club: Club, value: str) -> None:
    client = club.client
    client.set_cookie(COOKIE, value, domain="localhost", secure=True)
    assert data(me(client), 401) is None


def test_a_cookie_of_another_key_proves_no_user(club: Club, tmp_path: Path) -> None:
    foreign = Club(tmp_path, key=KEY[::-1])
    kept = browser(foreign).get_cookie(COOKIE, "localhost")
    foreign.members.accounts.close()
    assert kept is not None
    client = club.client
    client.set_cookie(COOKIE, kept.value, domain="localhost", secure=True)
    assert data(me(client), 401) is None


def test_a_disabled_user_is_out_of_their_browser_at_once(club: Club) -> None:
    client = browser(club)
    with club.members.accounts.alone() as change:
        change.disable("alice", datetime.now(UTC))
    assert data(me(client), 401) is None
    client = browser(club, account="bob")
    club.marks.block("bob")
    assert data(me(client), 401) is None


def test_a_page_of_an_allowed_origin_may_have_its_cookie_sent_along(club: Club) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    preflight = club.client.options("/api/account/token", headers=asked)
    assert preflight.headers["Access-Control-Allow-Credentials"] == "true"
    assert "X-App-Proxy" in preflight.headers["Access-Control-Allow-Headers"].split(", ")
    foreign = club.client.options("/api/account/token", headers=asked | {"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Credentials" not in foreign.headers
    assert "Access-Control-Allow-Credentials" not in World().client.options("/api/account/token", headers=asked).headers


def test_for_a_trial_without_tls_the_cookie_can_do_without_it(tmp_path: Path) -> None:
    club = Club(tmp_path, cookie_secure=False)
    client = club.client
    asked = {"account": "alice", "password": PASSWORD, "cookie": True}
    answer = client.post("/auth/login", json=asked, headers={"Origin": "http://localhost", "X-App-Proxy": "1"})
    assert answer.headers["Set-Cookie"].startswith("app-proxy=")
    assert "Secure" not in answer.headers["Set-Cookie"]
    assert client.get("/auth/me").status_code == 200
    club.members.accounts.close()


def test_a_callback_opens_no_session_and_touches_no_flask_login_whatever_cookie_it_brings(club: Club) -> None:
    with browser(club) as client:
        path = f"/callbacks/mimc/{URL_SECRET}"
        answer = client.post(path, json=offline(), headers=PAGE | bearer("1000"), base_url=HERE)
        assert answer.status_code == 200
        assert isinstance(session._get_current_object(), NullSession)  # type: ignore[attr-defined]  # a proxy's own
        assert "_login_user" not in g
        assert "Set-Cookie" not in answer.headers
        assert "Cookie" not in answer.headers.get("Vary", "")


def test_a_session_cookie_that_came_twice_proves_nobody(club: Club) -> None:
    alice, bob = (browser(club, account=account).get_cookie(COOKIE, "localhost") for account in ("alice", "bob"))
    assert alice is not None
    assert bob is not None
    for first, second in ((alice, bob), (bob, alice), (alice, alice)):
        planted = {"Cookie": f"{COOKIE}={first.value}; {COOKIE}={second.value}"}
        assert (
            club.app.test_client(use_cookies=False).get("/auth/me", headers=planted, base_url=HERE).status_code == 401
        )


def test_what_was_typed_for_an_account_that_is_none_is_in_the_log_as_a_digest(club: Club) -> None:
    with capture_logs() as lines:
        for account in ("alice", "nobody", "my secret password", "nobody"):
            login(club.client, account=account, password="incorrect")
    refused = [line for line in lines if line.get("what") == "refused"]
    assert [line.get("account") for line in refused] == ["alice", None, None, None]
    first, other, again = (line["account_digest"] for line in refused[1:])
    assert first == again != other
    assert "my secret password" not in repr(lines)
    assert "nobody" not in repr(lines)
