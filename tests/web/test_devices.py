"""Registrations by signed-in users."""

import json

import pytest
from structlog.testing import capture_logs

from proxy.domain.api_keys import ApiKey, Scope
from proxy.domain.devices import fingerprint
from proxy.metrics import WEB
from tests.web.world import NOW, World, app_section, bearer, mipush_section, other_section, settings

PHONE = "/api/devices/phone"
TOKEN = "AB" * 32
KEY = {"platform": "apns", "push_token": TOKEN}
CANARY = {"platform": "mipush", "push_token": "canary-token"}


@pytest.fixture
def world(apns: dict[str, object]) -> World:
    return World(settings({"main": app_section(apns=apns, mipush=mipush_section())}))


def test_a_registration_is_kept_and_shown_without_its_push_token(world: World) -> None:
    body = KEY | {
        "environment": "sandbox",
        "locale": "zh-Hans-CN",
        "resource": "ios 1",
        "app": "main",
        "preview": "none",
        "fallbacks": [{"platform": "mipush", "push_token": "reg-of-it"}, KEY | {"push_token": "cd" * 32}],
    }
    answer = world.client.put(PHONE, headers=bearer(), json=body)
    assert answer.status_code == 200
    (device,) = world.devices.stored.values()
    assert (device.account, device.push_token, device.environment) == ("1000", TOKEN.lower(), "sandbox")
    for shown in (answer, world.client.get(PHONE, headers=bearer())):
        assert shown.status_code == 200
        assert TOKEN.lower() not in shown.text.lower()
        assert "reg-of-it" not in shown.text
        assert json.loads(shown.data)["data"] == {
            "app": "main",
            "device_id": "phone",
            "platform": "apns",
            "push_token_fingerprint": "271a413b",
            "environment": "sandbox",
            "fallbacks": [
                {"platform": "mipush", "push_token_fingerprint": fingerprint("reg-of-it"), "environment": None},
                {
                    "platform": "apns",
                    "push_token_fingerprint": fingerprint("cd" * 32),
                    "environment": "production",
                },
            ],
            "locale": "zh-Hans-CN",
            "resource": "ios 1",
            "preview": "none",
            "registered_at": "2026-11-23T12:00:00+00:00",
            "invalid_reason": None,
        }
    listed = world.client.get("/api/devices", headers=bearer())
    assert [entry["device_id"] for entry in json.loads(listed.data)["data"]] == ["phone"]


def test_a_registration_shows_that_the_account_is_in_use(world: World) -> None:
    world.client.put(PHONE, headers=bearer("1000"), json=KEY)
    assert world.admission.lifted == [("1000", None)]


def test_a_device_is_its_users_alone(world: World) -> None:
    world.client.put(PHONE, headers=bearer("1000"), json=KEY)
    assert world.client.get(PHONE, headers=bearer("1001")).status_code == 404
    assert world.client.delete(PHONE, headers=bearer("1001")).status_code == 404
    assert world.client.delete(PHONE, headers=bearer("1000")).status_code == 200
    assert world.client.delete(PHONE, headers=bearer("1000")).status_code == 404
    assert world.devices.stored == {}


def test_who_lost_a_push_token_to_another_account_is_told_404_and_may_register_it_again(world: World) -> None:
    def moved() -> float:
        return WEB.get_sample_value("app_proxy_push_tokens_moved_total", {"app": "main"}) or 0.0

    before = moved()
    world.client.put(PHONE, headers=bearer("1000"), json=KEY)
    assert (world.client.get(PHONE, headers=bearer("1000")).status_code, moved()) == (200, before)
    world.client.put("/api/devices/thief", headers=bearer("1001"), json=KEY)
    assert (world.client.get(PHONE, headers=bearer("1000")).status_code, moved()) == (404, before + 1)
    world.client.put(PHONE, headers=bearer("1000"), json=KEY)
    assert (world.client.get(PHONE, headers=bearer("1000")).status_code, moved()) == (200, before + 2)


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_no_device_route_answers_without_a_proof(world: World, method: str) -> None:
    answer = world.client.open(PHONE, method=method, json=KEY)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert world.devices.stored == {}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"platform": None}, "platform"),
        ({"platform": "fcm"}, "platform"),
        ({"platform": []}, "platform"),
        ({"push_token": None}, "push_token"),
        ({"push_token": 5}, "push_token"),
        ({"push_token": "ab" * 7}, "push_token"),
        ({"push_token": "ab" * 201}, "push_token"),
        ({"push_token": "abc" * 9}, "push_token"),
        ({"push_token": "xy" * 32}, "push_token"),
        ({"push_token": "ab" * 32 + "\n"}, "push_token"),
        ({"platform": "mipush", "push_token": "a,b"}, "push_token"),
        ({"platform": "mipush", "push_token": "a b"}, "push_token"),
        ({"platform": "mipush", "push_token": "a" * 257}, "push_token"),
        ({"platform": "mipush", "push_token": ""}, "push_token"),
        ({"platform": "mipush", "push_token": "reg", "environment": "sandbox"}, "environment"),
        ({"environment": "staging"}, "environment"),
        ({"environment": {}}, "environment"),
        ({"locale": 1}, "locale"),
        ({"locale": "zh\nCN"}, "locale"),
        ({"resource": "a\u0000"}, "resource"),
        ({"preview": "some"}, "preview"),
        ({"preview": []}, "preview"),
        ({"resource": "a" * 129}, "resource"),
        ({"app": 1}, "app"),
        ({"fallbacks": {}}, "fallbacks"),
        ({"fallbacks": [{"platform": "mipush", "push_token": f"r{n}"} for n in range(4)]}, "fallbacks"),
        ({"fallbacks": [7]}, "fallbacks[0]"),
        ({"fallbacks": [{"platform": "mipush", "push_token": "r", "locale": "en"}]}, "fallbacks[0]"),
        ({"fallbacks": [{"platform": "mipush", "push_token": "r"}, {"platform": "pager"}]}, "fallbacks[1].platform"),
        ({"fallbacks": [{"platform": "mipush", "push_token": "a b"}]}, "fallbacks[0].push_token"),
        ({"fallbacks": [KEY | {"environment": "staging"}]}, "fallbacks[0].environment"),
        ({"fallbacks": [KEY]}, "fallbacks[0].push_token"),  # the first again
        ({"fallbacks": [{"platform": "mipush", "push_token": "r"}] * 2}, "fallbacks[1].push_token"),
        ({"enviroment": "sandbox"}, "body"),
    ],
)
def test_a_wrong_member_is_named_and_nothing_kept(world: World, changes: dict[str, object], field: str) -> None:
    answer = world.client.put(PHONE, headers=bearer(), json=KEY | changes)
    assert answer.status_code == 400
    assert json.loads(answer.data)["message"].startswith(f"{field}: expected")
    assert world.devices.stored == {}


def test_a_sandbox_device_is_refused_where_the_app_has_its_sandbox_off(apns: dict[str, object]) -> None:
    world = World(settings({"main": app_section(apns={**apns, "sandbox": False})}))
    answer = world.client.put(PHONE, headers=bearer(), json=KEY | {"environment": "sandbox"})
    assert answer.status_code == 400
    assert json.loads(answer.data)["message"].startswith('environment: expected "production", for the sandbox is off')
    assert world.devices.stored == {}
    assert world.client.put(PHONE, headers=bearer(), json=KEY).status_code == 200


@pytest.mark.parametrize("length", [16, 64, 160, 400])
def test_a_device_token_may_have_any_length(world: World, length: int) -> None:
    body = KEY | {"push_token": "a" * length}
    assert world.client.put(PHONE, headers=bearer(), json=body).status_code == 200


@pytest.mark.parametrize(
    ("device_id", "status"),
    [
        ("a" * 128, 200),
        ("a" * 129, 400),
        ("a%20b", 200),
        ("%E6%89%8B", 200),
        ("%ff", 400),
        ("a%0Ab", 400),
        ("a/b", 404),
    ],
)
def test_a_device_id_is_printable_and_short(world: World, device_id: str, status: int) -> None:
    assert world.client.put(f"/api/devices/{device_id}", headers=bearer(), json=KEY).status_code == status


def test_a_reg_id_is_refused_where_accounts_are_the_address() -> None:
    world = World(settings({"main": app_section(mipush=mipush_section(address="account"))}))
    answer = world.client.put(PHONE, headers=bearer(), json={"platform": "mipush", "push_token": "reg"})
    assert answer.status_code == 409
    assert "addressed by account" in json.loads(answer.data)["message"]


def test_a_phone_of_the_developers_own_sender_registers_what_that_sender_knows_it_by() -> None:
    own = {"url": "https://push.example.com/", "secret": f"whsec_{'A' * 32}"}
    world = World(settings({"main": app_section(http=own)}))
    for push_token in ("huawei:AbC", '{"endpoint":"https://push.example/1"}', "x" * 1024):
        body = {"platform": "http", "push_token": push_token}
        assert world.client.put(PHONE, headers=bearer(), json=body).status_code == 200
        (device,) = world.devices.stored.values()
        assert (device.platform, device.push_token) == ("http", push_token)
    for wrong in ("", "x" * 1025, "a b", "a\n", "\u624b", 7):
        refused = world.client.put(PHONE, headers=bearer(), json={"platform": "http", "push_token": wrong})
        assert refused.status_code == 400
    with_environment = {"platform": "http", "push_token": "x", "environment": "sandbox"}
    assert world.client.put(PHONE, headers=bearer(), json=with_environment).status_code == 400
    by_account = World(settings({"main": app_section(http=own | {"address": "account"})}))
    refused = by_account.client.put(PHONE, headers=bearer(), json={"platform": "http", "push_token": "x"})
    assert refused.status_code == 409


def test_a_platform_that_the_app_has_no_section_for_is_refused() -> None:
    answer = World().client.put(PHONE, headers=bearer(), json=KEY)
    assert answer.status_code == 409
    assert "no apns section" in json.loads(answer.data)["message"]


def test_a_fallback_needs_a_section_as_the_first_address_does(apns: dict[str, object]) -> None:
    world = World(settings({"main": app_section(apns=apns)}))
    body = KEY | {"fallbacks": [{"platform": "mipush", "push_token": "r"}]}
    answer = world.client.put(PHONE, headers=bearer(), json=body)
    assert answer.status_code == 409
    assert json.loads(answer.data)["message"].startswith("fallbacks[0].platform: the app has no mipush section")


def test_with_several_apps_the_caller_says_which(apns: dict[str, object]) -> None:
    world = World(settings({"main": app_section(apns=apns), "other": other_section(apns=apns)}))
    assert world.client.put(PHONE, headers=bearer(), json=KEY).status_code == 400
    assert world.client.put(PHONE, headers=bearer(), json=KEY | {"app": "third"}).status_code == 404
    assert world.client.put(PHONE, headers=bearer(), json=KEY | {"app": "other"}).status_code == 200
    assert world.client.get(PHONE, headers=bearer()).status_code == 400
    assert world.client.get(f"{PHONE}?app=main", headers=bearer()).status_code == 404
    assert world.client.get(f"{PHONE}?app=other", headers=bearer()).status_code == 200


def service_of(world: World, *scopes: Scope) -> dict[str, str]:
    shown = f"ak_{len(world.api_keys.known):064x}"
    world.api_keys.known[shown] = ApiKey("id", "bot", "main", "system", frozenset(scopes), NOW)
    return {"Authorization": f"Bearer {shown}"}


def test_a_service_with_the_scope_registers_and_removes_devices_of_any_account_in_its_own_app() -> None:
    main = app_section(mipush=mipush_section(), api=["push"])
    world, device = World(settings({"main": main, "other": other_section()})), CANARY
    shown = service_of(world, Scope.DEVICES_WRITE)
    with capture_logs() as lines:
        for path, body, status in (
            ("?account=ann", device, 200),
            ("?account=ann", device | {"push_token": "two words"}, 400),
            ("?account=ann", device | {"app": "other"}, 403),
            ("", device, 400),
        ):
            answer = world.client.put(f"/api/devices/phone{path}", json=body, headers=shown)
            assert answer.status_code == status, (path, answer.text)
        ((_, account, *_),) = world.devices.stored
        assert account == "ann"
        assert world.client.get("/api/devices?account=ann", headers=shown).status_code == 403
        for path, status in (("?account=bob", 404), ("?account=ann&app=other", 403), ("?account=ann", 200)):
            assert world.client.delete(f"/api/devices/phone{path}", headers=shown).status_code == status, path
    assert world.devices.stored == {}
    audited = [line for line in lines if line["event"] == "audit" and "device" in line["what"]]
    assert [(it["what"], it["account"], it["api_key_id"]) for it in audited] == [
        ("device registered", "ann", "id"),
        ("device removed", "ann", "id"),
    ]
    assert "canary-token" not in str(lines)
    reader = service_of(world, Scope.DEVICES_READ)
    assert world.client.put("/api/devices/phone?account=ann", json=device, headers=reader).status_code == 403
    own = world.client.put("/api/devices/phone?account=ann", json=device | {"app": "main"}, headers=bearer("bob"))
    assert own.status_code == 200
    assert [it.account for it in world.devices.stored.values()] == ["bob"]  # a user registers for themselves alone
