"""What a page of another origin may do."""

import pytest

from tests.web.world import (
    APP_ID,
    ORIGIN,
    OTHER_APP_ID,
    World,
    app_section,
    bearer,
    mipush_section,
    other_section,
    settings,
)

PATH = "/api/account/token"
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


def test_a_preflight_needs_no_proof_and_names_authorization() -> None:
    answer = World().client.options(PATH, headers={"Origin": ORIGIN} | ASKED)
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Methods"] == "POST"
    assert "Authorization, Content-Type" in answer.headers["Access-Control-Allow-Headers"]
    assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_preflight_names_the_methods_of_its_route() -> None:
    answer = World().client.options("/api/devices/phone", headers={"Origin": ORIGIN} | ASKED)
    assert answer.headers["Access-Control-Allow-Methods"] == "DELETE, GET, HEAD, PUT"


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "https://chat.example.com.evil.com", ""])
def test_a_foreign_page_is_told_nothing(origin: str) -> None:
    client = World().client
    for answer in (
        client.options(PATH, headers={"Origin": origin} | ASKED),
        client.post(PATH, headers={"Origin": origin} | bearer()),
        client.post(PATH, headers={"Origin": origin}),
    ):
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
        assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize(
    ("path", "status"), [("/api/nowhere", 404), ("//api/account/token", 404), ("/api/account/token/", 404), (PATH, 401)]
)
def test_errors_may_be_read_by_the_allowed_page(path: str, status: int) -> None:
    answer = World().client.post(path, headers={"Origin": ORIGIN})
    assert answer.status_code == status
    if path.startswith("/api/"):
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.headers["Cache-Control"] == "no-store"


def test_other_routes_have_no_cors() -> None:
    client = World().client
    assert "Access-Control-Allow-Origin" not in client.get("/healthz", headers={"Origin": ORIGIN}).headers
    answer = client.options("/callbacks/mimc/whatever", headers={"Origin": ORIGIN} | ASKED)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert client.options("/api/nowhere", headers={"Origin": ORIGIN} | ASKED).status_code == 404


OTHER_ORIGIN, SHARED_ORIGIN = "https://other.example.com", "https://staff.example.com"


def two_apps() -> World:
    """ORIGIN is of main, OTHER_ORIGIN of other, SHARED_ORIGIN of both; main has a second section of its appId."""
    apps = {
        "main": app_section(mipush=mipush_section(), allowed_origins=[ORIGIN]),
        "pad": app_section(url_secret="url-secret-of-the-pad-0000000000"),
        "other": other_section(mipush=mipush_section(), allowed_origins=[OTHER_ORIGIN]),
    }
    return World(settings(apps, server={"allowed_origins": [SHARED_ORIGIN]}))


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (ORIGIN, {APP_ID}),
        (OTHER_ORIGIN, {OTHER_APP_ID}),
        (SHARED_ORIGIN, {APP_ID, OTHER_APP_ID}),
        (None, {APP_ID, OTHER_APP_ID}),
        ("https://evil.example.com", set()),
        ("null", set()),
        ("", set()),
        (f"{ORIGIN}, {OTHER_ORIGIN}", set()),
        (ORIGIN.upper(), set()),
    ],
)
def test_a_page_gets_tokens_of_its_own_app_alone(origin: str | None, allowed: set[str]) -> None:
    world = two_apps()
    headers = bearer() | ({} if origin is None else {"Origin": origin})
    for app_id in (APP_ID, OTHER_APP_ID):
        answer = world.client.post(PATH, headers=headers, json={"appId": app_id})
        if app_id in allowed:
            assert answer.status_code == 200
        else:
            assert answer.json == {"code": 403, "message": "Origin: is not allowed for this app", "data": None}
        known = origin in (ORIGIN, OTHER_ORIGIN, SHARED_ORIGIN)
        assert answer.headers.get("Access-Control-Allow-Origin") == (origin if known else None)
    assert len(world.tokens.calls) == len(allowed)


@pytest.mark.parametrize("origin", [ORIGIN, OTHER_ORIGIN, SHARED_ORIGIN])
def test_a_preflight_is_answered_to_the_pages_of_every_app(origin: str) -> None:
    answer = two_apps().client.options(PATH, headers={"Origin": origin} | ASKED)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (204, origin)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("im.example.com", "https://im.example.com", 200),
        ("im.example.com:8080", "http://im.example.com:8080", 200),
        ("im.example.com", "https://im.example.com:8080", 403),
        ("im.example.com", "https://im.example.com.evil.com", 403),
        ("im.example.com", "ftp://im.example.com", 403),
    ],
)
def test_a_page_of_this_very_host_needs_no_name(host: str, origin: str, status: int) -> None:
    answer = World().client.post(PATH, headers=bearer() | {"Host": host, "Origin": origin})
    assert answer.status_code == status
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_page_reaches_devices_of_its_own_app_alone() -> None:
    world = two_apps()
    body = {"platform": "mipush", "push_token": "reg", "app": "main"}
    headers = bearer() | {"Origin": OTHER_ORIGIN}
    client = world.client
    assert client.put("/api/devices/phone", headers=headers, json=body).status_code == 403
    assert client.get("/api/devices?app=main", headers=headers).status_code == 403
    assert client.delete("/api/devices/phone?app=main", headers=headers).status_code == 403
    assert world.devices.stored == {}
    assert client.get("/api/devices?app=other", headers=headers).status_code == 200
    assert client.put("/api/devices/phone", headers=headers | {"Origin": ORIGIN}, json=body).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://Chat.example.com", "https://chat.example.com/", "*", "chat.example.com", "", "null"]
)
def test_an_origin_that_no_browser_sends_is_refused_at_start(origin: str) -> None:
    with pytest.raises(ValueError, match="expected an origin"):
        settings({"main": app_section(allowed_origins=[origin])})
