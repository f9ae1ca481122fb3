"""A job's history."""

from datetime import UTC, datetime, timedelta

from proxy.domain.alerts import Alert, AlertText, Order
from proxy.domain.jobs import HISTORY_MOST, Job

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
JOB = Job("main", "apns", "ben", "phone", Alert("m1", "p2p:ann", AlertText("ann", "hi"), Order(1, 1, 1), NOON))


def test_of_many_tries_the_first_and_the_latest_are_told() -> None:
    job = JOB
    for n in range(30):
        job = job.tried(NOON + n * SECOND, f"answer {n}")
    assert [it.reason for it in job.history] == ["answer 0", *(f"answer {n}" for n in range(21, 30))]
    assert len(job.history) == HISTORY_MOST
    assert job.history[-1].at == NOON + 29 * SECOND


def test_a_job_with_a_history_is_the_same_job() -> None:
    assert JOB.tried(NOON, "busy").id == JOB.id
