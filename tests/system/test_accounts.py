"""docs/users.md, (d): nothing but the built-in accounts, over several web processes."""

import os
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from proxy.local.ports import free_port
from tests.system.rig import MAIN, ROOT, Process, Rig, offline, push_token

# as docs/users.md has it
ACCOUNTS = """
[auth.accounts]
key = { env = "AUTH_ACCOUNTS_KEY" }
"""
PAGE = {"Origin": "https://chat.example.com", "X-App-Proxy": "1"}
PASSWORD = "correct-horse-battery"


class Site:
    """The service with built-in accounts, its operator's command line, and its clients."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        path = rig.folder / "proxy.toml"
        path.write_text(re.sub(r"\[auth\.[^\[]*", lambda _: ACCOUNTS, path.read_text(), count=1))
        key = rig.secret("auth.accounts.key", secrets.token_urlsafe(36))
        self._variables = {"AUTH_ACCOUNTS_KEY": key, "APP_PROXY_AUTH__ACCOUNTS__COOKIE_SECURE": "false"}
        self._variables |= {"APP_PROXY_SERVER__ALLOWED_ORIGINS": PAGE["Origin"]}
        rig.secret("password", PASSWORD)

    def start(self) -> None:
        self.rig.start_web(workers=2, **self._variables)

    def start_another(self, database: Path) -> Process:
        own = {"BIND": f"127.0.0.1:{free_port()}", "OPERATOR_BIND": f"127.0.0.1:{free_port()}"}
        variables = {f"APP_PROXY_SERVER__{name}": address for name, address in own.items()}
        variables |= self._variables | {"APP_PROXY_AUTH__ACCOUNTS__DATABASE": str(database)}
        command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "config/gunicorn.conf.py"), "wsgi:app"]
        return self.rig.start("web", command, **variables)

    def start_worker(self) -> Process:
        return self.rig.start_worker(**self._variables)

    def users(self, *arguments: str, typed: str = "") -> None:
        environment = os.environ | self._variables | {"APP_PROXY_CONFIG": str(self.rig.folder / "proxy.toml")}
        command = [sys.executable, "-m", "proxy", "users", *arguments]
        subprocess.run(command, cwd=ROOT, env=environment, input=typed, text=True, check=True, timeout=30)

    def add(self, account: str) -> None:
        self.users("add", account, "--password-stdin", typed=f"{PASSWORD}\n")

    def login(self, client: requests.Session, account: str, **body: Any) -> requests.Response:
        asked = {"account": account, "password": PASSWORD, **body}
        headers = PAGE if body.get("cookie") else {}
        return client.post(f"{self.rig.web}/auth/login", json=asked, headers=headers, timeout=10)

    def pair(self, account: str, **body: Any) -> dict[str, str]:
        return self.kept(self.login(self.rig.http, account, **body))

    def kept(self, answer: requests.Response) -> dict[str, str]:
        assert answer.status_code == 200, answer.text
        pair: dict[str, str] = answer.json()["data"]
        for name in ("access_token", "refresh_token"):
            self.rig.secret(name, pair[name])
        return pair

    def refresh(self, refresh_token: str) -> requests.Response:
        return requests_session().post(
            f"{self.rig.web}/auth/refresh", json={"refresh_token": refresh_token}, timeout=10
        )  # fmt: skip

    def ask(self, access_token: str) -> requests.Response:
        """For a MIMC token, over a connection of its own: any of the web processes may take it."""
        headers = {"Authorization": f"Bearer {access_token}", "Connection": "close"}
        return self.rig.http.post(
            f"{self.rig.web}/api/account/token", json={"appId": MAIN}, headers=headers, timeout=10
        )  # fmt: skip


def requests_session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Each test has users of its own."""
    with tempfile.TemporaryDirectory(prefix="rig-", dir="/tmp") as folder, Rig(Path(folder) / "r") as rig:
        made = Site(rig)
        made.start()
        yield made


def test_without_an_account_system_a_user_signs_in_here_and_gets_his_token(site: Site) -> None:
    site.add("张三")
    assert site.login(site.rig.http, "李四").status_code == 401
    pair = site.pair("张三")
    for _ in range(4):
        answer = site.ask(pair["access_token"])
        assert (answer.status_code, answer.json()["data"]["appAccount"]) == (200, "张三")
        site.rig.secret("MIMC token", answer.json()["data"]["token"])
    renewed = site.kept(site.refresh(pair["refresh_token"]))
    assert site.ask(renewed["access_token"]).status_code == 200
    assert site.refresh(pair["refresh_token"]).status_code == 401  # used before, so the session ends in all processes
    assert [site.ask(renewed["access_token"]).status_code for _ in range(4)] == [401] * 4


def test_of_many_refreshes_at_once_one_gets_a_pair_whichever_process_it_reaches(site: Site) -> None:
    site.add("bob")
    for _ in range(3):
        shown = site.pair("bob")["refresh_token"]
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(site.refresh, [shown] * 8))
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7
        site.kept(next(answer for answer in answers if answer.ok))


def test_a_browser_is_signed_in_by_its_cookie_alone(site: Site) -> None:
    site.add("carol")
    browser = requests_session()
    answer = site.login(browser, "carol", cookie=True)
    assert answer.json()["data"].keys() == {"account", "expires_in"}
    site.rig.secret("session cookie", browser.cookies["app-proxy"])
    token = f"{site.rig.web}/api/account/token"
    assert browser.post(token, json={"appId": MAIN}, headers=PAGE, timeout=10).json()["data"]["appAccount"] == "carol"
    assert browser.post(token, json={"appId": MAIN}, timeout=10).status_code == 403
    kept = browser.cookies["app-proxy"]
    assert browser.post(f"{site.rig.web}/auth/logout", headers=PAGE, timeout=10).status_code == 200
    assert "app-proxy" not in browser.cookies
    stolen = {"Cookie": f"app-proxy={kept}"}
    assert requests_session().get(f"{site.rig.web}/auth/me", headers=stolen, timeout=10).status_code == 401


def test_a_disabled_user_gets_no_token_and_no_alert_until_he_is_enabled(site: Site) -> None:
    rig = site.rig
    site.add("alice")
    worker = site.start_worker()
    pair = site.pair("alice")
    phone = rig.secret("push token", push_token())
    registration = {"app": "main", "platform": "apns", "push_token": phone}
    headers = {"Authorization": f"Bearer {pair['access_token']}"}
    rig.http.put(f"{rig.web}/api/devices/phone", json=registration, headers=headers, timeout=10).raise_for_status()

    site.users("disable", "alice")
    assert [site.ask(pair["access_token"]).status_code for _ in range(4)] == [401] * 4
    assert site.refresh(pair["refresh_token"]).status_code == 401
    assert site.login(rig.http, "alice").status_code == 401
    assert rig.post(offline("bob", "alice", rig.secret("text", "while disabled"), sequence=1)).ok
    rig.settled()

    site.users("enable", "alice")
    assert site.refresh(pair["refresh_token"]).status_code == 401  # their sessions had ended
    again = site.pair("alice", device_id="phone", app="main")
    assert rig.post(offline("bob", "alice", rig.secret("text", "while enabled"), sequence=2)).ok
    rig.wait(lambda: rig.accepted(phone), "the alert")
    headers = {"Authorization": f"Bearer {again['access_token']}"}
    rig.http.post(f"{rig.web}/auth/logout", headers=headers, timeout=10).raise_for_status()
    assert rig.post(offline("bob", "alice", rig.secret("text", "after signing out"), sequence=3)).ok
    rig.settled()
    assert [it["payload"]["aps"]["alert"]["body"] for it in rig.accepted(phone)] == ["while enabled"]
    assert worker.popen.poll() is None


def test_a_database_that_is_none_of_ours_keeps_the_web_from_starting(site: Site) -> None:
    foreign = site.rig.folder / "foreign.sqlite3"
    foreign.write_text("something else " * 100)
    web = site.start_another(foreign)
    assert web.popen.wait(20) != 0
    assert "is not a database of accounts; name another file" in web.log.read_text()
