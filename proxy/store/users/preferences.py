"""What users ask of their alerts, by appId and account. Without a record all is as if nothing had been set."""

import hashlib
from collections.abc import Mapping

from proxy.domain.preferences import DEFAULT, Preferences
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.records import dump_preferences, preferences_or_strictest
from proxy.store.scripts import Argument, ask_now, script


class RedisPreferences:
    """Implements ports.PreferenceBook, for the web. `app_ids` maps a section's name to its appId."""

    def __init__(self, store: Store, app_ids: Mapping[str, str]) -> None:
        self._store, self._app_ids = store, app_ids

    def read(self, app: str, account: str) -> tuple[Preferences, str]:
        """And their version. Reading keeps them for another 400 days."""
        command = ("GETEX", self._store.layout.preferences(self._app_ids[app], account), "EX", keys.DEVICE_TTL_S)
        record: bytes | None = self._store.call(lambda redis: ask_now(redis, [command])[0])
        return preferences_or_strictest(record) if record else DEFAULT, _version(record or b"")

    def write(self, app: str, account: str, preferences: Preferences, expected: str | None) -> str | None:
        """Their version from now on; None where another than the `expected` one is there: nothing is changed then."""
        record = b"" if preferences == DEFAULT else dump_preferences(preferences)
        names = [self._store.layout.preferences(self._app_ids[app], account)]
        args: list[Argument] = [record, keys.DEVICE_TTL_S, expected or ""]
        done = self._store.call(lambda redis: script("set_preferences").run(redis, names, args))
        return _version(record) if done else None


def _version(record: bytes) -> str:
    return hashlib.sha1(record, usedforsecurity=False).hexdigest()  # what a script can compute too
