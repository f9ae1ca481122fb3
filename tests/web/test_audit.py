"""Who was let do what is written once, without what would let anybody else do it."""

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.domain.transfers import FailureKind, Response, TransportFailure
from tests.web.test_limits import counted, metrics_of
from tests.web.world import World, app_section, bearer, mipush_section, settings

TIMED_OUT = FailureKind.TIMED_OUT

PATH, PHONE = "/api/account/token", "/api/devices/phone"
MIMC_TOKEN, REG_ID = "mimc-token-canary", "reg-id-canary"


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


def world() -> World:
    made = World(settings({"main": app_section(mipush=mipush_section())}))
    made.tokens.answer = Response(200, {}, b'{"code":200,"data":{"token":"%b"}}' % MIMC_TOKEN.encode())
    return made


def audits(lines: list[Any]) -> list[dict[str, object]]:
    kept = [{key: value for key, value in line.items() if key not in ("event", "log_level")} for line in lines
            if line["event"] == "audit"]  # fmt: skip
    assert all(line.pop("address") == "127.0.0.1" and line.pop("request_id") == "r-1" for line in kept)
    return kept


def test_a_token_that_was_given_names_its_user_app_and_proof(lines: list[Any]) -> None:
    headers = bearer() | {"X-Request-Id": "r-1"}
    assert world().client.post(PATH, headers=headers).status_code == 200
    assert audits(lines) == [{"what": "token asked", "account": "1000", "app": "main", "backend": "jwt", "status": 200}]
    assert MIMC_TOKEN not in repr(lines)
    assert headers["Authorization"].split()[1] not in repr(lines)


@pytest.mark.parametrize(
    ("answer", "status"),
    [(Response(403, {}, b'{"code":403}'), 403), (TransportFailure("timed out", TIMED_OUT), "timed out")],
)
def test_a_token_that_was_not_given_says_why(
    lines: list[Any], answer: Response | TransportFailure, status: object
) -> None:
    place = world()
    place.tokens.answer = answer
    place.client.post(PATH, headers=bearer() | {"X-Request-Id": "r-1"})
    assert [line["status"] for line in audits(lines)] == [status]


def test_a_refusal_names_the_backend_and_its_reason_and_is_counted(lines: list[Any]) -> None:
    place, headers = world(), bearer(exp=1) | {"X-Request-Id": "r-1"}
    assert place.client.post(PATH, headers=headers).status_code == 401
    (line,) = audits(lines)
    assert (line["what"], line["backend"]) == ("refused", "jwt")
    row = f'app_proxy_callers_refused_total{{backend="jwt",reason="{line["reason"]}"}}'
    before = counted(metrics_of(place), row)
    place.client.post(PATH, headers=headers)
    assert counted(metrics_of(place), row) == before + 1 > 1


def test_a_call_without_any_proof_is_no_attempt(lines: list[Any]) -> None:
    assert world().client.post(PATH).status_code == 401
    assert audits(lines) == []


def test_devices_come_and_go_by_their_ids_and_fingerprints(lines: list[Any]) -> None:
    client, headers = world().client, bearer() | {"X-Request-Id": "r-1"}
    assert client.put(PHONE, headers=headers, json={"platform": "mipush", "push_token": REG_ID}).status_code == 200
    assert client.get(PHONE, headers=headers).status_code == 200
    assert client.delete(PHONE, headers=headers).status_code == 200
    who = {"account": "1000", "app": "main", "backend": "jwt", "device_id": "phone"}
    registered, removed = audits(lines)
    assert len(str(registered.pop("fingerprint"))) == 8
    assert registered == {"what": "device registered", "platform": "mipush", "moved": False} | who
    assert removed == {"what": "device removed"} | who
    assert REG_ID not in repr(lines)


def test_a_device_that_made_room_is_told(lines: list[Any]) -> None:
    place = world()
    place.devices.per_account = 1
    for device_id in ("old", "new"):
        body = {"platform": "mipush", "push_token": f"{REG_ID}-{device_id}"}
        headers = bearer() | {"X-Request-Id": "r-1"}
        assert place.client.put(f"/api/devices/{device_id}", headers=headers, json=body).status_code == 200
    assert audits(lines)[-1] == {"what": "device made room", "account": "1000", "app": "main", "device_id": "old"}


def test_a_callback_is_no_business_of_the_audit(lines: list[Any]) -> None:
    world().client.post("/callbacks/mimc/a-wrong-secret", json={})
    assert audits(lines) == []
