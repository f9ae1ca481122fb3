"""Why a reader got no job: a row for each reason."""

from datetime import timedelta

import pytest

from proxy.domain.callbacks import Recipient
from proxy.domain.devices import AccountsRead, ApnsEnvironment, Device, Platform
from proxy.domain.history import Reason
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane, Route
from proxy.domain.messages import Content
from proxy.domain.offline_messages import OfflineMessage
from proxy.domain.preferences import Treatment
from proxy.usecases.note_plan import notes_of_all, notes_of_own, notes_of_some
from proxy.usecases.plan_alerts import PlanResult, alert_of, jobs_for
from tests.store.samples import NOON, alert

APNS = Lane("77", "main", "apns")
MESSAGE = OfflineMessage("m1", "77", "topic:1", "ann", (Recipient("ann"), Recipient("ben")), b"x", "", "7", 5, NOON)
PHONE = Device("main", "ben", "phone", Platform.APNS, "a1", NOON, resource="r1")
PAD = Device("main", "ben", "pad", Platform.APNS, "b2", NOON, resource="r2")
SANDBOX = Device("main", "ben", "dev", Platform.APNS, "c3", NOON, ApnsEnvironment.SANDBOX)


def noted(
    *devices: Device,
    reader: Recipient = Recipient("ben"),  # noqa: B008  frozen
    blocked: bool = False,
    present: bool = False,
    muted: bool = False,
) -> list[tuple[str, str, str]]:
    found = AccountsRead(
        {("main", "ben"): list(devices)},
        frozenset({"ben"} if blocked else ()),
        present=frozenset({"ben"} if present else ()),
    )
    treatments = {"ben": Treatment(muted=muted)}
    routes = [Route(APNS, to_account=False)]
    readers = [] if present else [reader]
    jobs = jobs_for(routes, alert(), readers, found.devices, found.blocked, treatments)
    notes = notes_of_some(MESSAGE, [reader], routes, found, treatments, jobs)
    assert {(note.message_id, note.conversation, note.sent_at_ms) for note in notes} <= {("m1", "topic:1", 5)}
    return [(note.result, note.account, note.device_id) for note in notes]


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        (noted(PHONE, PAD), []),
        (noted(), [(Reason.NO_DEVICE, "ben", "")]),
        (noted(PHONE, blocked=True), [(Reason.BLOCKED, "ben", "")]),
        (noted(PHONE, present=True), [(Reason.PRESENT, "ben", "")]),
        (noted(PHONE, muted=True), [(Reason.MUTED, "ben", "")]),
        (noted(PHONE, PAD, reader=Recipient("ben", ("r1",))), [(Reason.ONLINE, "ben", "pad")]),
        (noted(PHONE, SANDBOX), [(Reason.CHANNEL_OFF, "ben", "dev")]),
    ],
)
def test_whoever_gets_no_job_has_a_reason(
    notes: list[tuple[str, str, str]], expected: list[tuple[str, str, str]]
) -> None:
    assert notes == expected


def test_an_account_that_is_its_own_address_needs_no_device() -> None:
    lane = Lane("77", "main", "mipush")
    jobs = [(lane, Job("main", "mipush", "ben", "", alert()))]
    routes = [Route(lane, to_account=True)]
    assert notes_of_some(MESSAGE, [Recipient("ben")], routes, AccountsRead({}, frozenset()), {}, jobs) == []


def test_one_that_has_devices_and_is_an_address_too_has_a_reason_for_the_device_that_was_left_out() -> None:
    by_account = Lane("77", "main", "mipush")
    routes = [Route(APNS, to_account=False), Route(by_account, to_account=True)]
    found, reader = AccountsRead({("main", "ben"): [PHONE, PAD]}, frozenset()), Recipient("ben", ("r1",))
    jobs = jobs_for(routes, alert(), [reader], found.devices, found.blocked)
    assert len(jobs) == 2
    notes = notes_of_some(MESSAGE, [reader], routes, found, {}, jobs)
    assert [(note.result, note.device_id) for note in notes] == [(Reason.ONLINE, "pad")]


def test_the_sender_is_told_apart_from_the_readers() -> None:
    assert [(note.result, note.account) for note in notes_of_own(MESSAGE)] == [(Reason.OWN_MESSAGE, "ann")]


@pytest.mark.parametrize(
    ("life", "result", "reason"),
    [
        (timedelta(seconds=-1), PlanResult.EXPIRED, Reason.EXPIRED),
        (None, PlanResult.NO_TEXT, Reason.KIND_IS_SILENT),
    ],
)
def test_where_there_is_no_alert_all_readers_have_the_same_reason(
    life: timedelta | None, result: PlanResult, reason: Reason
) -> None:
    content = Content("text", silent=life is None)
    assert alert_of(MESSAGE, content, NOON, life or timedelta(days=1)) is result
    assert [note.result for note in notes_of_all(MESSAGE, result, MESSAGE.recipients)] == [reason, reason]
