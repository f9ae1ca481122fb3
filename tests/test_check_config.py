import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask, Response, request
from jwt.algorithms import ECAlgorithm
from redis import Redis

from proxy.check_config import Finding, ask_services
from proxy.emulators.certificates import ensure_certificates
from proxy.emulators.server import threaded_server
from proxy.settings import Settings
from proxy.store.server.embedded import server_binary
from tests.emulators.apns_peer import (
    KEY_ID,
    OTHER_KEY_ID,
    OTHER_TOPIC,
    PRODUCTION_KEY_ID,
    TEAM,
    TOPIC,
    Emulator,
    emulator,
    private_pem,
)

SECRET = "push-secret-canary"


@contextmanager
def served(answer: Any, seen: list[dict[str, str]] | None = None) -> Iterator[str]:
    """A server on loopback that answers every request alike; its address."""
    app = Flask(__name__)

    @app.route("/", defaults={"path": ""}, methods=["GET", "POST"])
    @app.route("/<path:path>", methods=["GET", "POST"])
    def any_path(path: str) -> Response:
        if seen is not None:
            seen.append({"path": path, **{name.lower(): value for name, value in request.headers}})
        return Response(*answer)

    server = threaded_server(app, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def findings(
    base_url: str,
    store_url: str = "redis://127.0.0.1:1/0",
    account: str = "",
    replicas: str = "0",
    webhooks: Any = (),
    **app: Any,
) -> dict[str, list[Finding]]:
    settings = Settings.model_validate(
        {
            "auth": {"jwt": {"own": {"secret": "k" * 40}}},
            "store": {"url": store_url, "replicas": replicas},
            "webhooks": webhooks,
            "apps": {
                "main": {
                    "app_id": "1",
                    "app_key": "k",
                    "app_secret": "app-secret-canary",
                    "url_secret": "u" * 16,
                    "base_url": base_url,
                }
                | app
            },
        }
    )
    found: dict[str, list[Finding]] = {}
    for finding in ask_services(settings, account):
        assert SECRET not in repr(finding)
        found.setdefault(finding.place, []).append(finding)
    return found


def test_mimc_is_asked_without_credentials_and_what_that_leaves_open_is_said() -> None:
    seen: list[dict[str, str]] = []
    with served(("not here", 404), seen) as url:
        found = findings(url)
    assert found["apps.main.base_url"][0].verdict == "ok"
    assert [(one["path"], "authorization" in one) for one in seen] == [("", False)]
    (finding,) = found["apps.main.app_secret"]
    assert (finding.verdict, "--account or check_account" in finding.untried) == ("warning", True)


@pytest.mark.parametrize(
    ("answer", "verdict", "told"),
    [
        (('{"code":200,"message":"success","data":{"token":"t"}}', 200), "ok", "gave a token for the account"),
        (('{"code":401,"message":"no","data":null}', 200), "fault", "MIMC's code 401"),
        (('{"code":200,"data":null}', 200), "fault", "MIMC's code 200 without a token"),
        (('{"code":"' + SECRET + '"}', 200), "fault", "HTTP 200 without MIMC's code"),
        (("<html>", 502), "fault", "HTTP 502 without MIMC's code"),
    ],
)
@pytest.mark.parametrize("named", ["check_account", "account"])
def test_mimc_s_own_code_says_whether_it_takes_the_credentials(
    answer: Any, verdict: str, told: str, named: str
) -> None:
    with served(answer) as url:
        found = findings(url, **{named: "alice"})
    (finding,) = found["apps.main.app_secret"]
    assert (finding.verdict, told in finding.text) == (verdict, True)


EC_KEY = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key())


@pytest.mark.parametrize(
    ("answer", "verdict", "told"),
    [
        ((f'{{"keys":[{EC_KEY}]}}', 200), "ok", "has 1 keys for ES256"),
        (('{"keys":[]}', 200), "fault", "has no key there"),
        (('{"keys":{}}', 200), "fault", "no JWK set"),
        (("<html>", 200), "fault", "no JWK set"),
        (("", 302, {"Location": "/"}), "fault", "answers HTTP 302"),
    ],
)
def test_an_issuer_is_asked_for_its_keys(answer: Any, verdict: str, told: str) -> None:
    with served(answer) as url:
        settings = Settings.model_validate(
            {
                "auth": {"jwt": {"openid": {"jwks_url": f"{url}/jwks"}}},
                "store": {"url": "redis://127.0.0.1:1/0"},
                "apps": {
                    "main": {
                        "app_id": "1",
                        "app_key": "k",
                        "app_secret": "app-secret-canary",
                        "url_secret": "u" * 16,
                        "base_url": url,
                    }
                },
            }
        )
        [finding] = [it for it in ask_services(settings) if it.place == "auth.jwt.openid.jwks_url"]
    assert (finding.verdict, told in finding.text) == (verdict, True)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (('{"result":"ok","code":0}', 200), "ok"),
        (('{"result":"error","code":10038}', 200), "ok"),
        (('{"result":"error","code":21301}', 401), "fault"),
        (('{"result":"error","code":21302}', 200), "fault"),
        (('{"result":"error","code":10001}', 200), "warning"),
        (('{"code":"0"}', 200), "warning"),
        (("[]", 200), "warning"),
        (("<html>", 502), "warning"),
        (("", 302, {"Location": "http://127.0.0.1:1/"}), "warning"),
    ],
)
def test_the_code_of_xiaomi_s_answer_tells_whether_the_secret_is_good(answer: Any, verdict: str) -> None:
    seen: list[dict[str, str]] = []
    with served(answer, seen) as url:
        (finding,) = findings(url, mipush={"app_secret": SECRET, "package": "p", "base_url": url})[
            "apps.main.mipush.app_secret"
        ]
    assert finding.verdict == verdict
    assert (seen[-1]["path"], seen[-1]["authorization"]) == ("v1/trace/quota/get", f"key={SECRET}")


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(204, "ok"), (401, "fault"), (404, "fault"), (302, "fault"), (422, "warning"), (503, "warning")],
)
def test_an_own_senders_answer_to_a_check_tells_whether_it_takes_what_we_sign(status: int, verdict: str) -> None:
    seen: list[dict[str, str]] = []
    with served(("", status), seen) as url:
        http = {"url": f"{url}/{SECRET}", "secret": f"whsec_{'A' * 32}"}
        (finding,) = findings(url, http=http)["apps.main.http.url"]
    assert finding.verdict == verdict
    assert SECRET not in f"{finding}"
    assert seen[-1]["path"] == SECRET
    assert seen[-1]["webhook-signature"].startswith("v1,")
    (finding,) = findings(url, http=http)["apps.main.http.url"]
    assert (finding.verdict, finding.text.endswith("was not reached: connection refused")) == ("fault", True)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (('{"name": "A"}', 200), "ok"),
        (("", 404), "ok"),
        (("", 401), "fault"),
        (("hello", 200), "fault"),
        (("", 500), "fault"),
    ],
)
def test_a_server_of_names_is_asked_as_a_worker_asks(answer: tuple[str, int], verdict: str) -> None:
    seen: list[dict[str, str]] = []
    with served(answer, seen) as url:
        profiles = {"url": f"{url}/{SECRET}", "secret": f"whsec_{'A' * 32}", "timeout_s": 2}
        (finding,) = findings(url, profiles=profiles)["apps.main.profiles.url"]
    assert finding.verdict == verdict
    assert SECRET not in f"{finding}"
    assert seen[-1]["webhook-signature"].startswith("v1,")
    (finding,) = findings(url, profiles=profiles)["apps.main.profiles.url"]
    assert (finding.verdict, finding.text.endswith("connection refused")) == ("fault", True)


@pytest.mark.parametrize(
    ("status", "verdict"), [(204, "ok"), (401, "fault"), (302, "fault"), (410, "fault"), (404, "warning")]
)
def test_a_webhook_is_asked_as_a_worker_asks(status: int, verdict: str) -> None:
    seen: list[dict[str, str]] = []
    with served(("", status), seen) as url:
        webhook = {"name": "crm", "app": "main", "url": f"{url}/{SECRET}", "secret": f"whsec_{'A' * 32}"}
        (finding,) = findings(url, webhooks=[webhook])["webhooks.0.url"]
    assert finding.verdict == verdict
    assert SECRET not in f"{finding}"
    assert seen[-1]["webhook-signature"].startswith("v1,")
    (finding,) = findings(url, webhooks=[webhook])["webhooks.0.url"]
    assert (finding.verdict, finding.text.endswith("connection refused")) == ("fault", True)


def test_who_does_not_listen_is_a_fault() -> None:
    found = findings("http://127.0.0.1:1", account="alice")
    assert {one.verdict for ones in found.values() for one in ones} == {"fault"}
    assert found.keys() == {"store.url", "apps.main.base_url", "apps.main.app_secret"}


def test_the_environment_s_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with served(("fine", 200)) as url:
        assert findings(url)["apps.main.base_url"][0].verdict == "ok"


def test_the_settings_proxy_is_used() -> None:
    with served(("fine", 200)) as proxy:
        found = findings("http://mimc.invalid", proxy=proxy)
    assert found["apps.main.base_url"][0].verdict == "ok"


def test_an_apns_host_without_http2_is_a_fault(tmp_path: Path) -> None:
    certificates = ensure_certificates(tmp_path / "tls")
    (tmp_path / "key.p8").write_text("not looked at here")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_shake_twice, args=(listener, certificates.server_context(["http/1.1"])))
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        apns = {
            "team_id": "A" * 10, "key_id": "B" * 10, "topic": "t", "key_file": str(tmp_path / "key.p8"),
            "ca_file": str(certificates.ca_file), "production_url": url, "sandbox_url": url,
        }  # fmt: skip
        found = findings("http://127.0.0.1:1", apns=apns)
        thread.join()
    for key in ("production_url", "sandbox_url"):
        (finding,) = found[f"apps.main.apns.{key}"]
        assert finding.verdict == "fault"
        assert "TLS" in finding.text or "HTTP/2" in finding.text


def _shake_twice(listener: socket.socket, context: ssl.SSLContext) -> None:
    for _ in range(2):
        connection = listener.accept()[0]
        try:
            context.wrap_socket(connection, server_side=True).close()
        except OSError:  # a library may refuse protocols that do not match
            connection.close()


def test_apns_is_asked_through_its_proxy_and_for_a_sandbox_only_where_that_is_on(tmp_path: Path) -> None:
    apns = {
        "team_id": "A" * 10, "key_id": "B" * 10, "topic": "t", "key_file": str(private_key(tmp_path)),
        "proxy": "http://127.0.0.1:1",
    }  # fmt: skip
    found = findings("http://127.0.0.1:1", apns=apns)
    (finding,) = found["apps.main.apns.production_url"]
    assert (finding.verdict, finding.text) == ("fault", "api.push.apple.com was not reached: connection refused")
    assert "apps.main.apns.sandbox_url" in found
    assert "apps.main.apns.sandbox_url" not in findings("http://127.0.0.1:1", apns={**apns, "sandbox": False})


@pytest.fixture(scope="module")
def apple(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with emulator(tmp_path_factory.mktemp("apns")) as running:
        yield running


@pytest.mark.parametrize(
    ("changes", "verdict", "told"),
    [
        ({}, "ok", "takes the key and the topic"),
        ({"topic": OTHER_TOPIC}, "fault", "answers TopicDisallowed: the key may not push to this topic"),
        ({"key_id": OTHER_KEY_ID}, "fault", "answers InvalidProviderToken: team_id, key_id and key_file do not"),
        ({"key_id": PRODUCTION_KEY_ID}, "fault", "answers InvalidProviderToken"),
    ],
)
def test_apple_is_asked_for_a_device_that_cannot_exist(
    tmp_path: Path, apple: Emulator, store_url: str, changes: dict[str, str], verdict: str, told: str
) -> None:
    """Another team's key, or a key of another topic, is found before a phone is silent."""
    key_file = tmp_path / "key.p8"
    key_file.write_text(private_pem())
    apns = {
        "team_id": TEAM, "key_id": KEY_ID, "topic": TOPIC, "key_file": str(key_file), "ca_file": apple.ca_file,
        "production_url": f"https://127.0.0.1:{apple.port}", "sandbox": False,
    }  # fmt: skip
    (finding,) = findings("http://127.0.0.1:1", store_url, apns=apns | changes)["apps.main.apns.production_url"]
    assert (finding.verdict, told in finding.text) == (verdict, True), finding


def test_too_many_new_provider_tokens_say_how_long_to_wait(tmp_path: Path) -> None:
    """Without a store there is none of the workers' to ask with."""
    with emulator(tmp_path, token_updates=2) as apple:
        apns = {
            "team_id": TEAM, "key_id": KEY_ID, "topic": TOPIC, "key_file": str(private_key(tmp_path)),
            "ca_file": apple.ca_file, "production_url": f"https://127.0.0.1:{apple.port}", "sandbox": False,
        }  # fmt: skip
        for _ in range(4):
            (finding,) = findings("http://127.0.0.1:1", apns=apns)["apps.main.apns.production_url"]
    assert finding.verdict == "warning"
    assert finding.text.endswith(
        "TooManyProviderTokenUpdates: the team made too many new provider tokens; ask again in 20 minutes"
    )


def private_key(folder: Path) -> Path:
    path = folder / "key.p8"
    path.write_text(private_pem())
    return path


def test_a_store_that_may_forget_is_warned_of_and_one_that_evicts_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "s"
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "yes"]  # everysec by default
    server = subprocess.Popen([server_binary(), *options], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        next(line for line in server.stdout if "ready to accept connections" in line.lower())
        with Redis(unix_socket_path=str(path)) as redis:
            everysec = findings("http://127.0.0.1:1", f"unix://{path}")["store.url"]
            redis.execute_command("ACL", "SETUSER", "asked", "on", "nopass", "+@all", "-config", "~*")
            hosted = findings("http://127.0.0.1:1", f"unix://asked:any@{path}")["store.url"]
            redis.execute_command(
                "ACL", "SETUSER", "managed", "on", "nopass", "~proxy:*", "+@all", "-@admin", "-@dangerous"
            )
            managed = findings("http://127.0.0.1:1", f"unix://managed:any@{path}", replicas="1")
            redis.config_set("appendonly", "no")
            redis.config_set("maxmemory-policy", "allkeys-lru")
            volatile = findings("http://127.0.0.1:1", f"unix://{path}")["store.url"]
    finally:
        server.terminate()
        server.communicate(timeout=10)
    assert [one.verdict for one in volatile] == ["ok", "warning", "fault"]
    assert "appendonly is off" in volatile[1].text
    assert "allkeys-lru" in volatile[2].text
    assert "CONFIG SET maxmemory-policy noeviction" in volatile[2].text
    assert ["appendfsync is everysec" in one.text for one in everysec] == [False, True]
    assert ["appendfsync is not shown" in one.text for one in hosted] == [False, True]
    assert everysec[0].text.startswith(f"{path} answers, compatible with Redis 7.")
    assert [one.verdict for one in managed["store.url"]] == ["ok", "warning", "warning"]
    assert managed["store.url"][0].text == f"{path} answers; its version is not shown, it must be 6.2 or newer"
    assert managed["store.url"][1].text.startswith("unknown: ")
    (alone,) = managed["store.replicas"]
    assert (alone.verdict, alone.text[:45]) == ("fault", "0 of the 1 that store.replicas asks for have ")
