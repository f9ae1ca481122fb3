"""Who is signed in. No account is until PUT /_emulator/online says so: a token alone opens no socket."""

import threading
from collections.abc import Collection, Mapping


class Presence:
    """The accounts that are online, each with its resources. Safe to use from several threads."""

    def __init__(self) -> None:
        self._online: dict[str, dict[str, tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def put(self, app_id: str, accounts: Mapping[str, Collection[str]]) -> None:
        """From now on these and no others are signed in to the app."""
        with self._lock:
            self._online[app_id] = {account: tuple(resources) for account, resources in accounts.items()}

    def resources(self, app_id: str, account: str) -> tuple[str, ...]:
        """Where they are signed in; nothing if nowhere."""
        with self._lock:
            return self._online.get(app_id, {}).get(account, ())

    def offline(self, app_id: str, accounts: Collection[str]) -> list[str]:
        with self._lock:
            online = self._online.get(app_id, {})
            return [account for account in accounts if account not in online]

    def describe(self) -> dict[str, dict[str, list[str]]]:
        with self._lock:
            return {app: {name: list(found) for name, found in online.items()} for app, online in self._online.items()}
