"""Clients that we did not write get through to the emulated APNs: httpx (h2), libcurl (nghttp2) and mopyapns."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apns2.client
import apns2.credentials
import apns2.errors
import apns2.payload
import httpx
import pycurl
import pytest

from tests.emulators.apns_peer import ALERT, KEY_ID, PHONE, TEAM, TOPIC, Emulator, emulator, private_pem, provider_token

HEADERS = {"apns-topic": TOPIC, "apns-push-type": "alert"}


@pytest.fixture(scope="module")
def apns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with emulator(tmp_path_factory.mktemp("apns"), delay_ms=5) as running:
        yield running


@pytest.fixture(scope="module")
def authorization() -> str:
    return f"bearer {provider_token()}"


def test_httpx_gets_answers_good_and_bad(apns: Emulator, authorization: str) -> None:
    apns.know("dead", "unregistered", 1793534400000)
    with httpx.Client(
        http2=True, http1=False, verify=ssl.create_default_context(cafile=apns.ca_file), trust_env=False,
        base_url=f"https://127.0.0.1:{apns.port}/3/device/", headers={**HEADERS, "authorization": authorization},
    ) as client:  # fmt: skip
        good, gone = client.post(PHONE, json=ALERT), client.post("dead", json=ALERT)
    assert (good.http_version, good.status_code, good.content) == ("HTTP/2", 200, b"")
    assert (gone.status_code, gone.json()) == (410, {"reason": "Unregistered", "timestamp": 1793534400000})


@pytest.fixture
def mopyapns(apns: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[apns2.client.APNsClient]:
    monkeypatch.setenv("SSL_CERT_FILE", apns.ca_file)
    monkeypatch.setenv("NO_PROXY", "*")
    key_file = tmp_path / "key.p8"
    key_file.write_text(private_pem())
    client = apns2.client.APNsClient(apns2.credentials.TokenCredentials(str(key_file), KEY_ID, TEAM))
    client._server, client._port = "127.0.0.1", apns.port  # it knows no setting for another host
    yield client
    client._connection.close()


def test_mopyapns_with_its_float_iat_sends_an_alert_that_the_phone_shows(
    apns: Emulator, mopyapns: apns2.client.APNsClient
) -> None:
    before = apns.last()
    alert = apns2.payload.PayloadAlert(title="title", body="正文")
    mopyapns.send_notification(PHONE, apns2.payload.Payload(alert=alert, badge=1), TOPIC, collapse_id="c")
    (entry,) = apns.journal(before)
    assert entry["accepted"]
    assert entry["payload"] == {"aps": {"alert": {"title": "title", "body": "正文"}, "badge": 1}}
    assert (entry["push_type"], entry["collapse_id"]) == ("alert", "c")


def test_mopyapns_understands_the_refusals(apns: Emulator, mopyapns: apns2.client.APNsClient) -> None:
    alert = apns2.payload.Payload(alert="hello")
    apns.know("dead", "unregistered", 1793534400000)
    with pytest.raises(apns2.errors.Unregistered) as gone:
        mopyapns.send_notification("dead", alert, TOPIC)
    assert gone.value.timestamp == 1793534400000
    with pytest.raises(apns2.errors.TopicDisallowed):
        mopyapns.send_notification(PHONE, alert, "com.example.stranger")
    with pytest.raises(apns2.errors.BadDeviceToken):
        mopyapns.send_notification("xyz", alert, TOPIC)
    with pytest.raises(apns2.errors.BadCollapseId):
        mopyapns.send_notification(PHONE, alert, TOPIC, collapse_id="x" * 65)


def curl_handle(apns: Emulator, authorization: str) -> tuple[pycurl.Curl, list[bytes]]:
    curl, body = pycurl.Curl(), list[bytes]()
    for option, value in (
        (pycurl.URL, f"https://127.0.0.1:{apns.port}/3/device/{PHONE}"), (pycurl.CAINFO, apns.ca_file),
        (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE), (pycurl.NOPROXY, "*"),
        (pycurl.POSTFIELDS, json.dumps(ALERT)), (pycurl.PIPEWAIT, 1), (pycurl.TIMEOUT_MS, 60_000),
        (pycurl.HTTPHEADER, [f"authorization: {authorization}", *(f"{k}: {v}" for k, v in HEADERS.items())]),
        (pycurl.WRITEFUNCTION, body.append),
    ):  # fmt: skip
        curl.setopt(option, value)
    return curl, body


def test_libcurl_gets_answers_good_and_bad(apns: Emulator, authorization: str) -> None:
    curl, body = curl_handle(apns, authorization)
    curl.perform()
    assert (curl.getinfo(pycurl.RESPONSE_CODE), body) == (200, [])
    curl.setopt(pycurl.POSTFIELDS, "{}")
    curl.perform()
    assert (curl.getinfo(pycurl.RESPONSE_CODE), json.loads(b"".join(body))) == (400, {"reason": "PayloadEmpty"})
    curl.close()


def test_libcurls_burst_into_a_cold_connection_is_seen(apns: Emulator, authorization: str) -> None:
    """libcurl does not wait for the first SETTINGS; a lenient stand-in would never show it."""

    async def push_all() -> None:
        multi = pycurl.AsyncCurlMulti()
        multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)
        pushes = [multi.perform(curl_handle(apns, authorization)[0]) for _ in range(50)]
        await asyncio.gather(*pushes, return_exceptions=True)
        await multi.aclose()

    over = apns.counter("streams_over_limit")
    asyncio.run(push_all())
    assert apns.counter("most_streams_before_first_good_answer") > 10
    assert apns.counter("streams_over_limit") > over + 10


def test_a_thousand_pushes_in_flight_at_once_are_all_answered(apns: Emulator, authorization: str) -> None:
    count = 1000

    async def push_all() -> list[Any]:
        multi = pycurl.AsyncCurlMulti()
        multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)
        handles = [curl_handle(apns, authorization)[0] for _ in range(count)]
        await multi.perform(handles[0])
        await asyncio.gather(*(multi.perform(handle) for handle in handles[1:]))
        await multi.aclose()
        return [handle.getinfo(pycurl.RESPONSE_CODE) for handle in handles]

    assert asyncio.run(push_all()) == [200] * count
