"""Health is asked for once a second, however many callers there are."""

from dataclasses import dataclass

from proxy.domain.monitoring import Health
from proxy.usecases.remembered_health import RememberedHealth


@dataclass
class Checks:
    """Implements ports.HealthCheck."""

    count: int = 0

    def check(self) -> Health:
        self.count += 1
        return Health(True, {"check": str(self.count)})


def test_an_answer_holds_for_a_second() -> None:
    now, checks = [0.0], Checks()
    health = RememberedHealth(checks, lambda: now[0])
    told = []
    for moment in (0.0, 0.5, 0.99, 1.0, 1.5, 2.5):
        now[0] = moment
        told.append(health.check().details["check"])
    assert told == ["1", "1", "1", "2", "2", "3"]
