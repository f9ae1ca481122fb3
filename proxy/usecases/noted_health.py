"""A health check that also says what is wrong with the settings, and with the files that they name."""

from collections.abc import Callable, Mapping

from proxy.domain.monitoring import Health
from proxy.ports import HealthCheck


class NotedHealth:
    """Implements ports.HealthCheck. `notes` gives sentences for a person; they stop nothing."""

    def __init__(self, health: HealthCheck, notes: Callable[[], Mapping[str, str]]) -> None:
        self._health, self._notes = health, notes

    def check(self) -> Health:
        health = self._health.check()
        return Health(health.ready, {**health.details, **self._notes()})
