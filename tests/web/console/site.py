"""The console as a browser finds it: a real store, real accounts, and requests as our server hands them on."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from proxy.auth.operators import Operators
from proxy.auth.passwords import Argon2Passwords
from proxy.domain.lanes import Lane
from proxy.store.connection import Store
from proxy.store.server.figures import FiguresReader
from proxy.web.console.emulated import Emulators
from proxy.web.services import ConsoleServices
from tests.web.world import APP_ID, NOW, World, settings

ORIGIN = "http://127.0.0.1:9464"
FAR = "192.0.2.7"  # the address of another machine
PASSWORD = "correct horse canary"
LANE = Lane(APP_ID, "main", "apns")


class Site:
    """`sections` are of the settings: console={"writes": True}."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        lanes: Sequence[Lane] = (LANE,),
        emulators: Emulators | None = None,
        **sections: Any,
    ) -> None:
        self.store = store
        self.operators = Operators(folder / "operators.sqlite3", Argon2Passwords(), timedelta(hours=12))
        console = ConsoleServices(store, self.operators, lanes, FiguresReader(store), emulators)
        self.world = World(settings(**sections), console)

    def browser(self, peer: str = "127.0.0.1", *, keeps_cookies: bool = True) -> "Browser":
        """One that keeps no cookies sends those of the test's own header."""
        return Browser(self.world.app.test_client(use_cookies=keeps_cookies), peer)

    def signed_in(self, name: str = "olga", peer: str = "127.0.0.1") -> "Browser":
        """An operator of that name, made where there is none."""
        self.operators.add(name, PASSWORD, NOW)
        browser = self.browser(peer)
        assert browser.sign_in(name).status_code == 303
        return browser


class Browser:
    """With its cookies, at the address `peer`."""

    def __init__(self, client: FlaskClient, peer: str) -> None:
        self.client, self._peer = client, peer

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> TestResponse:
        return self._open(path, method="GET", headers=headers)

    def page(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        return answer.text

    def post(
        self, path: str, fields: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> TestResponse:
        """As a page of this origin does."""
        return self._open(path, method="POST", data=dict(fields or {}), headers={"Origin": ORIGIN, **(headers or {})})

    def form(self, page: str, path: str, **fields: str) -> TestResponse:
        """A form of `page`, sent to `path`."""
        return self.post(path, {"csrf": csrf_in(self.page(page)), **fields})

    def sign_in(self, name: str, password: str = PASSWORD, back: str = "") -> TestResponse:
        return self.form("/console/sign-in", "/console/sign-in", name=name, password=password, back=back)

    def _open(self, path: str, **asked: Any) -> TestResponse:
        return self.client.open(path, base_url=ORIGIN, environ_base={"REMOTE_ADDR": self._peer}, **asked)


def csrf_in(html: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', html)
    assert found, "the page has no form"
    return found[1]
