"""The README's section "Your users": with a few lines of settings the broker knows the users of another system."""

import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from proxy.local.ports import free_port, listens
from tests.system.rig import MAIN, Process, Rig

# (c) A session of your own site in a cookie, as the README has it but for the address.
COOKIE_SESSION = """
[auth.introspection]
url = "http://127.0.0.1:{port}/whoami/"
cookies = ["sessionid"]
account = "user.username"
"""
PAGE = "https://www.example.com"


class Site:
    """The other system, and browsers in which somebody is signed in there."""

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


@pytest.fixture
def rig() -> Iterator[Rig]:
    with (
        tempfile.TemporaryDirectory(prefix="rig-", dir="/tmp") as folder,
        Rig(Path(folder) / "r", without=("apns", "mipush")) as it,
    ):
        yield it


def use(rig: Rig, auth: str, **variables: str) -> None:
    """Start the web with this way of proving a user in place of the rig's own."""
    path = rig.folder / "proxy.toml"
    text, replaced = re.subn(r"\[auth\.[^\[]*", lambda _: auth, path.read_text())
    assert replaced == 1
    path.write_text(text)
    rig.start_web(workers=2, APP_PROXY_SERVER__ALLOWED_ORIGINS=PAGE, **variables)


def ask(rig: Rig, browser: requests.Session, **headers: str) -> requests.Response:
    """A page asks for a token: the browser adds the cookies that it has for this host."""
    sent = {"Origin": PAGE, "X-App-Proxy": "1", "Connection": "close", **headers}
    return browser.post(f"{rig.web}/api/account/token", json={"appId": MAIN}, headers=sent, timeout=10)


def code(answer: requests.Response) -> int:
    body: dict[str, Any] = answer.json()
    assert body["code"] == answer.status_code
    return answer.status_code


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
