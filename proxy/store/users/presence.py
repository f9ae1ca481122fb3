"""Which accounts fetched a MIMC token just now, and so have the app open. `alerts.present_s` says how long; 0: off."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from proxy.domain.times import MS
from proxy.errors import StoreUnavailable
from proxy.store.connection import Store
from proxy.store.scripts import ask_now


class RedisPresence:
    """For the web. `app_ids` maps a section's name to its appId."""

    def __init__(self, store: Store, app_ids: Mapping[str, str], span: timedelta) -> None:
        self._store, self._app_ids, self._span_ms = store, app_ids, span // MS

    def note(self, app: str, account: str) -> None:
        """The account was given a token. Raises nothing: where the store is away its alerts come as always."""
        command = ("SET", self._store.layout.present(self._app_ids[app], account), "1", "PX", self._span_ms)
        with suppress(StoreUnavailable):
            self._store.call(lambda redis: ask_now(redis, [command]))
