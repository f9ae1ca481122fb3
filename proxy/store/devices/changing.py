"""What those have in common that change registrations step by step, for the web and the command line."""

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from proxy.store.connection import Store
from proxy.store.devices.changes import Change, change
from proxy.store.steps import Steps, take_steps

T = TypeVar("T")


class ChangingDevices:
    """`app_ids` maps a section's name to its appId; `per_account`: how many devices an account may have in one.

    `replicas`: of a cluster so many have each step of a change before the next one.
    """

    def __init__(
        self,
        store: Store,
        app_ids: Mapping[str, str],
        per_account: int = 10,
        clock: Callable[[], float] = time.time,
        replicas: int = 0,
    ) -> None:
        self._store, self._app_ids, self._per_account = store, app_ids, per_account
        self._clock, self._replicas = clock, replicas

    def _change(self, app: str) -> Change:
        return change(self._store.layout, self._app_ids[app], app, self._clock)

    def _take(self, steps: Steps[T]) -> T:
        return take_steps(self._store, steps, self._replicas)
