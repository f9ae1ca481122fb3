"""docs/users.md: with a few lines of settings the broker knows the users of another system."""

import http.client
import json
import re
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

from proxy.local.ports import free_port
from tests.auth.corpus import RAW, SECRET
from tests.listening import listens
from tests.system.rig import MAIN, Process, Rig

# (a) Bearers that your own system signs with a secret.
YOUR_JWT = """
[auth.jwt.own]
secret = {{ file = "{file}" }}
issuer = "https://app.example.com"
"""

# (b) An OpenID provider: its id_tokens, by the keys that it publishes.
OPENID = """
[auth.jwt.openid]
jwks_url = "http://127.0.0.1:{port}/jwks"
issuer = "http://127.0.0.1:{port}"
audience = "mimc-chat"
"""

# (c) A session of your own site in a cookie, as docs/users.md has it but for the address.
COOKIE_SESSION = """
[auth.introspection]
url = "http://127.0.0.1:{port}/whoami/"
cookies = ["sessionid"]
account = "user.username"
"""
PAGE = "https://www.example.com"


class Site:
    """The other system, and browsers in which a user is signed in there."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.port = free_port()
        self.process = self._start()

    def _start(self) -> Process:
        process = self._rig.start("site", [sys.executable, "-m", "tests.system.cookie_site", str(self.port)])
        self._rig.wait(lambda: listens("127.0.0.1", self.port), "the site")
        return process

    def sign_in(self, username: str) -> requests.Session:
        browser = requests.Session()
        browser.trust_env = False
        self.post(browser, "login", username=username)
        self._rig.secret("session cookie", browser.cookies["sessionid"])
        return browser

    def post(self, browser: requests.Session, action: str, **body: str) -> None:
        browser.post(f"http://127.0.0.1:{self.port}/{action}/", json=body, timeout=10).raise_for_status()


class Provider:
    """An OpenID provider that we did not write (PyPI's oidc-provider-mock). Each start makes a new key."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.port = free_port()
        self.start()

    def start(self) -> None:
        argv = [sys.executable, "-m", "oidc_provider_mock", "--host", "127.0.0.1", "--port", str(self.port)]
        self.process = self._rig.start("provider", argv)
        self._rig.wait(lambda: listens("127.0.0.1", self.port), "the provider")

    def sign_in(self, sub: str, client_id: str = "mimc-chat") -> dict[str, str]:
        """The authorization code flow (OpenID Connect Core, 3.1), the user's consent included. Returns the tokens."""
        at, back = f"http://127.0.0.1:{self.port}", "http://127.0.0.1:1/back"
        known = self._rig.http.get(f"{at}/.well-known/openid-configuration", timeout=10).json()
        asked = {"client_id": client_id, "redirect_uri": back, "response_type": "code", "scope": "openid"}
        consent = self._rig.http.post(
            known["authorization_endpoint"], params=asked, data={"sub": sub}, allow_redirects=False, timeout=10
        )
        [given] = parse_qs(urlsplit(consent.headers["Location"]).query)["code"]
        form = {"grant_type": "authorization_code", "code": given, "redirect_uri": back}
        answer = self._rig.http.post(known["token_endpoint"], data=form, auth=(client_id, "any"), timeout=10)
        answer.raise_for_status()
        tokens: dict[str, str] = answer.json()
        for name in ("id_token", "access_token"):
            self._rig.secret(name, tokens[name])
        return tokens


@pytest.fixture
def rig() -> Iterator[Rig]:
    with (
        tempfile.TemporaryDirectory(prefix="rig-", dir="/tmp") as folder,
        Rig(Path(folder) / "r", without=("apns", "mipush")) as it,
    ):
        yield it


def use(rig: Rig, auth: str, workers: int = 2, **variables: str) -> Process:
    """Start the web with this way of proving a user in place of the rig's own."""
    path = rig.folder / "proxy.toml"
    text, replaced = re.subn(r"\[auth\.[^\[]*", lambda _: auth, path.read_text())
    assert replaced == 1
    path.write_text(text)
    return rig.start_web(workers=workers, APP_PROXY_SERVER__ALLOWED_ORIGINS=PAGE, **variables)


def ask(rig: Rig, browser: requests.Session, **headers: str) -> requests.Response:
    """A page asks for a token: the browser adds the cookies that it has for this host."""
    sent = {"Origin": PAGE, "X-App-Proxy": "1", "Connection": "close", **headers}
    return browser.post(f"{rig.web}/api/account/token", json={"appId": MAIN}, headers=sent, timeout=10)


def bear(rig: Rig, bearer: str) -> requests.Response:
    """An app asks for a token with the bearer that it got from the other system."""
    headers = {"Authorization": f"Bearer {rig.secret('bearer', bearer)}", "Connection": "close"}
    answer = rig.http.post(f"{rig.web}/api/account/token", json={"appId": MAIN}, headers=headers, timeout=10)
    if answer.ok:
        rig.secret("MIMC token", answer.json()["data"]["token"])
    return answer


def signed(secret: str, account: str = "alice", **claims: Any) -> str:
    told = {"sub": account, "iss": "https://app.example.com", "exp": int(time.time()) + 600} | claims
    return jwt.encode(told, secret, "HS256")


def code(answer: requests.Response) -> int:
    body: dict[str, Any] = answer.json()
    assert body["code"] == answer.status_code
    return answer.status_code


def test_a_bearer_of_your_own_system_gets_its_user_his_token(rig: Rig) -> None:
    secret = rig.secret("jwt secret", secrets.token_urlsafe(40))
    (rig.folder / "jwt-secret").write_text(secret)
    use(rig, YOUR_JWT.format(file=rig.folder / "jwt-secret"))
    for account in ("alice", "张三", "a,b"):
        answer = bear(rig, signed(secret, account))
        assert (answer.status_code, answer.json()["data"]["appAccount"]) == (200, account)
    for bad in (signed(secret[::-1]), signed(secret, exp=1), signed(secret, iss="x"), signed(secret, aud="x"), "none"):
        answer = bear(rig, bad)
        assert (code(answer), answer.json()["data"]) == (401, None)


def test_your_secret_is_changed_while_everything_runs_by_its_file_and_by_a_reload(rig: Rig) -> None:
    first, second, third = (rig.secret("jwt secret", secrets.token_urlsafe(40)) for _ in range(3))
    path = rig.folder / "jwt-secret"
    path.write_text(first)
    web = use(rig, YOUR_JWT.format(file=path))
    assert [bear(rig, signed(secret)).status_code for secret in (first, second)] == [200, 401]

    path.with_suffix(".new").write_text(second)
    path.with_suffix(".new").replace(path)
    rig.wait(lambda: [bear(rig, signed(first)).status_code for _ in range(6)] == [401] * 6, "the old secret's end", 10)
    rig.wait(lambda: [bear(rig, signed(second)).status_code for _ in range(6)] == [200] * 6, "the new secret", 10)

    config = rig.folder / "proxy.toml"
    config.write_text(
        config.read_text().replace(f'secret = {{ file = "{path}" }}', f'secrets = ["{second}", "{third}"]')
    )
    web.popen.send_signal(signal.SIGHUP)
    rig.wait(lambda: [bear(rig, signed(third)).status_code for _ in range(6)] == [200] * 6, "the reload", 20)
    assert bear(rig, signed(second)).status_code == 200


def test_a_reload_of_wrong_settings_is_refused_and_the_service_goes_on(rig: Rig) -> None:
    secret = rig.secret("jwt secret", secrets.token_urlsafe(40))
    (rig.folder / "jwt-secret").write_text(secret)
    web = use(rig, YOUR_JWT.format(file=rig.folder / "jwt-secret"))
    rig.wait(lambda: {bear(rig, signed(secret)).status_code for _ in range(8)} == {200}, "both workers", 10)
    config = rig.folder / "proxy.toml"
    right = config.read_text()

    config.write_text(right.replace("issuer =", "isuser ="))
    web.popen.send_signal(signal.SIGHUP)
    rig.wait(lambda: "not reloaded" in web.log.read_text(), "the refusal")
    assert json.dumps('unknown key; did you mean "issuer"?').strip('"') in web.log.read_text()  # the log is JSON
    assert bear(rig, signed(secret)).status_code == 200

    config.write_text(right.replace("app.example.com", "other.example.com"))
    web.popen.send_signal(signal.SIGHUP)
    other = signed(secret, iss="https://other.example.com")
    rig.wait(lambda: bear(rig, other).status_code == 200, "the reload")


def test_who_signed_in_at_an_openid_provider_gets_his_token_by_its_published_keys(rig: Rig) -> None:
    provider = Provider(rig)
    web = use(rig, OPENID.format(port=provider.port), workers=1)  # each process fetches the keys for itself
    tokens = {account: provider.sign_in(account) for account in ("alice", "bob@example.com", "张三")}
    for account, given in tokens.items():
        answer = bear(rig, given["id_token"])
        assert (answer.status_code, answer.json()["data"]["appAccount"]) == (200, account)
    for bad in (
        tokens["alice"]["access_token"],  # opaque, with this provider
        provider.sign_in("alice", client_id="another-client")["id_token"],
        tokens["alice"]["id_token"][:-8] + "AAAAAAAA",
    ):
        assert code(bear(rig, bad)) == 401
    before = fetched_at(rig)
    assert abs(time.time() - before) < 120

    provider.process.kill()
    old = tokens["alice"]["id_token"]
    assert {bear(rig, old).status_code for _ in range(4)} == {200}  # the keys are known

    provider.start()  # with another key
    fresh = provider.sign_in("alice")["id_token"]
    web.popen.send_signal(signal.SIGHUP)  # or half a minute later by itself
    rig.wait(lambda: [bear(rig, fresh).status_code for _ in range(6)] == [200] * 6, "the provider's new key", 20)
    assert code(bear(rig, old)) == 401
    rig.wait(lambda: fetched_at(rig) > before, "the age of the new keys alone", 15)


def test_before_the_provider_was_ever_reached_nobody_is_turned_away(rig: Rig) -> None:
    port = free_port()
    use(rig, OPENID.format(port=port))
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = {"sub": "alice", "iss": f"http://127.0.0.1:{port}", "aud": "mimc-chat", "exp": int(time.time()) + 600}
    answer = bear(rig, jwt.encode(claims, key, "RS256", {"kid": "any"}))
    assert (code(answer), answer.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("name", RAW)
def test_a_header_that_only_a_real_server_sees_gets_its_status_in_the_envelope(reader: Rig, name: str) -> None:
    headers, status = RAW[name]
    port = int(reader.web.rpartition(":")[2])
    body = json.dumps({"appId": MAIN}).encode()
    head = b"POST /api/account/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        with suppress(OSError):  # it may hang up before it has read it all
            connection.sendall(head + headers + b"\r\n" + body)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        told = answer.read()
    assert (answer.status, json.loads(told)["code"]) == (status, status)
    assert b"Traceback" not in told
    assert status == 200 or json.loads(told)["data"] is None


@pytest.fixture(scope="module")
def reader() -> Iterator[Rig]:
    """A web for the corpus."""
    with (
        tempfile.TemporaryDirectory(prefix="rig-", dir="/tmp") as folder,
        Rig(Path(folder) / "r", without=("apns", "mipush")) as it,
    ):
        use(it, f'\n[auth.jwt.own]\nsecret = "{SECRET}"\n')
        yield it


def fetched_at(rig: Rig) -> float:
    """When the keys were fetched, as the operator sees it."""
    text = rig.http.get(f"{rig.operator}/metrics", timeout=10).text
    [line] = [it for it in text.splitlines() if it.startswith("app_proxy_jwks_fetched_timestamp_seconds{")]
    assert 'issuer="openid"' in line
    return float(line.rpartition(" ")[2])


def test_who_is_signed_in_at_your_own_site_gets_his_token_by_its_cookie(rig: Rig) -> None:
    site = Site(rig)
    use(rig, COOKIE_SESSION.format(port=site.port), APP_PROXY_AUTH__INTROSPECTION__CACHE_S="0.5")
    alice, bob = site.sign_in("alice"), site.sign_in("张三")

    for browser, account in ((alice, "alice"), (bob, "张三"), (alice, "alice")):
        answer = ask(rig, browser)
        assert (answer.status_code, answer.json()["data"]["appAccount"]) == (200, account)
        rig.secret("MIMC token", answer.json()["data"]["token"])
    foreign = ask(rig, alice, Origin="https://evil.example")
    assert foreign.status_code == 403
    assert "token" not in (foreign.json()["data"] or {})

    stranger = requests.Session()
    stranger.trust_env = False
    assert code(ask(rig, stranger)) == 401
    stranger.cookies.set("sessionid", "made-up")
    assert code(ask(rig, stranger)) == 401

    site.post(alice, "logout")
    rig.wait(lambda: code(ask(rig, alice)) == 401, "the end of alice's session", 5)
    assert ask(rig, bob).status_code == 200


def test_while_your_site_is_down_or_hangs_nobody_gets_a_token_and_nobody_is_signed_out(rig: Rig) -> None:
    site = Site(rig)
    use(rig, COOKIE_SESSION.format(port=site.port), APP_PROXY_AUTH__INTROSPECTION__CACHE_S="0")
    alice = site.sign_in("alice")

    site.process.signal(signal.SIGSTOP)
    hung = ask(rig, alice)
    assert (code(hung), hung.headers["Retry-After"]) == (503, "5")
    assert hung.elapsed.total_seconds() < 1.8
    site.process.signal(signal.SIGCONT)
    assert ask(rig, alice).status_code == 200

    site.process.kill()
    answer = ask(rig, alice)
    assert (code(answer), answer.json()["data"]) == (503, None)
    assert answer.elapsed.total_seconds() < 1.0
