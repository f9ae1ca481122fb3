"""What is attacked: the whole product on emulators, with all that strangers reach switched on, and its readers."""

import os
import re
import secrets
import sys
from collections.abc import Collection
from pathlib import Path

from proxy.local.ports import free_port
from proxy.settings import LimitSettings
from tests.bench.processes import MeasuredRig, pin
from tests.bench.whole import register_readers
from tests.listening import listens
from tests.system.rig import ROOT

READERS = 100
_MARK = re.compile(r"~(\d+)~")


class Product(MeasuredRig):
    """Users are proven by JWT, by the developer's URL and by accounts of the service's own; limits are the defaults.

    Everything but the attacker runs on `own`. `web` of `program` is attacked.
    """

    def __init__(self, folder: Path, own: Collection[int], program: Path = ROOT) -> None:
        self._own, self._web_program = own, program
        super().__init__(folder)

    def _begin(self) -> None:
        super()._begin()
        port = free_port()
        self.start("whoami", [sys.executable, "-m", "tests.attacks.whoami", str(port)], cwd=ROOT)
        self.wait(lambda: listens("127.0.0.1", port), "the whoami")
        limits = LimitSettings()
        self.start_web(
            program=self._web_program,
            APP_PROXY_AUTH__ORDER="jwt,introspection,accounts",
            APP_PROXY_AUTH__INTROSPECTION__URL=f"http://127.0.0.1:{port}/",
            APP_PROXY_AUTH__ACCOUNTS__KEY=self.secret("auth.accounts.key", secrets.token_urlsafe(36)),
            APP_PROXY_AUTH__ACCOUNTS__DATABASE=str(self.folder / "accounts.sqlite3"),
            APP_PROXY_LIMITS__TOKEN_PER_ACCOUNT=limits.token_per_account,
            APP_PROXY_LIMITS__TOKEN_PER_ADDRESS=limits.token_per_address,
            APP_PROXY_LIMITS__CLIENT_PER_ACCOUNT=limits.client_per_account,
            APP_PROXY_LIMITS__CLIENT_PER_ADDRESS=limits.client_per_address,
        )
        self.start_worker()
        register_readers(self, READERS)
        for process in self.processes.values():
            pin(process, self._own)

    def pushed(self) -> set[int]:
        """The marks of the messages that reached a phone, once all is settled. What APNs noted is forgotten."""
        self.settled()
        found = {int(mark) for entry in self.accepted() for mark in _MARK.findall(str(entry))}
        self.http.delete(f"{self.control('apns')}/journal", timeout=30).raise_for_status()
        return found


def cores() -> tuple[set[int], set[int]]:
    """The product's and the attacker's: with one core alone both are that one."""
    *own, last = sorted(os.sched_getaffinity(0))
    return set(own) or {last}, {last}
