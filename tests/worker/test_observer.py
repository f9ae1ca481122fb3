"""What the worker says of an answer beside what follows from it."""

import pytest
from structlog.testing import capture_logs

from proxy.domain.decisions import Decision, Result
from proxy.domain.lanes import Lane
from proxy.domain.transfers import Response
from proxy.metrics import exposition
from proxy.usecases.monitor_clock import ClockMonitor
from proxy.worker.observer import RelayObserver, hear_sandbox
from tests.store.samples import NOON, job

NAMED, JOB = "0F5C66C8-2F5A-4E1B-9C4E-111111111111", "5e6ad9d5-95b9-5b57-9d0c-222222222222"


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"apns-unique-id": NAMED, "apns-id": JOB}, [{"apns_unique_id": NAMED, "job_id": JOB}]),
        ({"apns-unique-id": NAMED, "apns-id": "<script>"}, [{"apns_unique_id": NAMED, "job_id": ""}]),
        ({"apns-unique-id": "a1b2" * 16, "apns-id": JOB}, []),
        ({"apns-id": JOB}, []),
    ],
)
def test_the_sandbox_names_a_push_for_apples_delivery_log(headers: dict[str, str], told: list[dict[str, str]]) -> None:
    clock = ClockMonitor(lambda: NOON, on_measured=lambda *_: None, on_wrong=lambda *_: None)
    with capture_logs() as lines:
        hear_sandbox(clock, Lane("1", "main", "apns-sandbox"), Response(200, headers, b""))
    named = [line for line in lines if line["event"] == "push named by apns"]
    assert [{key: line[key] for key in ("apns_unique_id", "job_id")} for line in named] == told


def test_an_exemplar_is_the_id_of_a_job_and_there_is_none_unless_it_is_on() -> None:
    lane = Lane("1", "main", "apns")
    for exemplars in (False, True):
        one = job(lane, account=f"canary-{exemplars}")
        RelayObserver("1", lane, exemplars=exemplars).settled(one, Decision(None, Result.ACCEPTED), NOON)
        shown = exposition(open_metrics=True).decode()
        assert (f'# {{job_id="{one.id}"}}' in shown) is exemplars
        assert one.id not in exposition().decode()
        assert "canary" not in shown
