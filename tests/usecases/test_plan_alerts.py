"""One message becomes jobs, or a reason why there are none."""

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from proxy.domain.alerts import Alert, AlertText, Order
from proxy.domain.callbacks import Recipient
from proxy.domain.devices import Address, ApnsEnvironment, Device, Platform
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane, Route
from proxy.domain.messages import DEFAULT_READING, Content
from proxy.domain.offline_messages import OfflineMessage
from proxy.domain.preferences import Mute, Preferences, QuietHours
from proxy.domain.previews import Preview
from proxy.usecases.plan_alerts import PlanResult, alert_of, jobs_for, missed_it, readers_of, treatments_of

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
DAY = timedelta(days=1)
MESSAGE = OfflineMessage(
    message_id="m1",
    app_id="77",
    conversation="topic:t1",
    sender="ann",
    recipients=(Recipient("ben"),),
    payload=b"the words of ann",
    biz_type="TEXT",
    sequence="9007199254740995",
    sent_at_ms=0,
    accepted_at=NOON,
)
CONTENT = Content("text", "the words of ann")
ALERT = MESSAGE.alert(AlertText("ann", "the words of ann"), DAY)
PHONES, SANDBOX, ACCOUNTS = (Lane("77", "main", channel) for channel in ("apns", "apns-sandbox", "mipush"))
ALL = [Route(PHONES, to_account=False), Route(SANDBOX, to_account=False), Route(ACCOUNTS, to_account=True)]


def phone(account: str = "ben", device_id: str = "phone", **of: Any) -> Device:
    return Device("main", account, device_id, Platform.APNS, f"{account}-{device_id}", NOON, **of)


def planned(*devices: Device, readers: str = "ben", routes: list[Route] | None = None) -> set[tuple[str, str, str]]:
    """Channel, account and device of each job for these readers."""
    by_account: dict[tuple[str, str], list[Device]] = {}
    for device in devices:
        by_account.setdefault((device.app, device.account), []).append(device)
    recipients = [Recipient(name) for name in readers.split()]
    jobs = jobs_for(routes or ALL, ALERT, recipients, by_account, frozenset())
    return {(lane.channel, job.account, job.device_id) for lane, job in jobs}


def test_an_alert_shows_who_writes_and_what_for_a_day_from_acceptance_at_its_place_in_the_conversation() -> None:
    assert alert_of(MESSAGE, CONTENT, NOON + timedelta(minutes=1), DAY) == Alert(
        "m1", "topic:t1", AlertText("ann", "the words of ann"), Order(9007199254740995, 0, NOON_MS), NOON + DAY
    )


@pytest.mark.parametrize(
    ("change", "now", "result"),
    [
        ({"biz_type": "TEXT_READ"}, NOON, PlanResult.NO_TEXT),  # a receipt says nothing to a person
        ({}, NOON + DAY, PlanResult.EXPIRED),
        ({"sent_at_ms": NOON_MS - 23 * 3_600_000}, NOON + timedelta(hours=2), PlanResult.EXPIRED),
    ],
)
def test_the_reason_why_a_message_has_no_alert_is_its_result(
    change: dict[str, Any], now: datetime, result: PlanResult
) -> None:
    message = replace(MESSAGE, **change)
    content = DEFAULT_READING.read(message.payload, message.biz_type)
    assert alert_of(message, content, now, DAY) is result


def test_a_message_is_worth_showing_until_the_moment_when_it_expires() -> None:
    assert isinstance(alert_of(MESSAGE, CONTENT, NOON + DAY - timedelta(microseconds=1), DAY), Alert)


def test_a_group_s_alert_names_the_account_of_who_writes_where_iphones_are_to_hear_it() -> None:
    told = alert_of(MESSAGE, Content("text", "hi", tells_sender=True, avatar="https://a.example/x"), NOON, DAY)
    assert isinstance(told, Alert)
    assert (told.text.sender, told.text.avatar) == ("ann", "https://a.example/x")
    assert told.text.at(Preview.NONE) == AlertText("", "", "new")
    untold = alert_of(MESSAGE, CONTENT, NOON, DAY)
    assert isinstance(untold, Alert)
    assert (untold.text.sender, untold.text.avatar) == ("", "")


def test_a_call_expires_when_it_has_stopped_ringing_and_an_alert_never_later_than_the_relay_says() -> None:
    call = replace(CONTENT, kind="call", urgent=True, expiry=timedelta(seconds=30))
    for expiry, life in ((30, timedelta(seconds=30)), (10**6, DAY)):
        alert = alert_of(MESSAGE, replace(call, expiry=timedelta(seconds=expiry)), NOON, DAY)
        assert isinstance(alert, Alert)
        assert (alert.expires_at, alert.urgent) == (NOON + life, True)


@pytest.mark.parametrize(
    ("app", "device", "shown"),
    [
        (Preview.FULL, Preview.FULL, AlertText("ann", "the words of ann")),
        (Preview.FULL, Preview.SENDER, AlertText("ann", "", "new")),
        (Preview.SENDER, Preview.FULL, AlertText("ann", "", "new")),
        (Preview.SENDER, Preview.NONE, AlertText("", "", "new")),
        (Preview.NONE, Preview.FULL, AlertText("", "", "new")),
    ],
)
def test_a_job_has_no_more_of_the_text_than_both_app_and_device_show(
    app: Preview, device: Preview, shown: AlertText
) -> None:
    routes = [replace(route, preview=app) for route in ALL]
    devices = {("main", "ben"): [phone(preview=device)]}
    for (_, job), its in zip(
        jobs_for(routes, ALERT, [Recipient("ben")], devices, frozenset()), (shown, ALERT.text.at(app)), strict=True
    ):
        assert job.alert.text == its


def test_the_sender_is_never_alerted_of_their_own_message() -> None:
    ben, ann = Recipient("ben", ("r1",)), Recipient("ann")
    assert readers_of(replace(MESSAGE, recipients=(ann, ben))) == [ben]
    assert readers_of(replace(MESSAGE, recipients=(ann,))) == []


def test_each_device_of_each_reader_gets_one_job_and_each_account_one_where_accounts_are_the_addresses() -> None:
    devices = phone(), phone(device_id="pad"), phone("cai")
    assert planned(*devices, readers="ben cai stranger") == {
        ("apns", "ben", "phone"), ("apns", "ben", "pad"), ("apns", "cai", "phone"),
        ("mipush", "ben", ""), ("mipush", "cai", ""), ("mipush", "stranger", ""),
    }  # fmt: skip


def test_a_job_carries_its_alert_and_the_digest_of_its_push_token_but_not_the_token() -> None:
    (job,) = (job for _, job in jobs_for(ALL[:1], ALERT, [Recipient("ben")], {("main", "ben"): [phone()]}, ()))
    assert job == Job("main", "apns", "ben", "phone", ALERT, token_digest=phone().token_digest)
    assert "ben-phone" not in repr(job)


def test_a_message_has_one_mark_for_a_device_whichever_of_its_addresses_is_in_use() -> None:
    """Another callback about the message, once the first address has gone, makes no second alert."""
    first = phone(fallbacks=(Address(Platform.HTTP, "fcm:1"),))
    routes = [*ALL, Route(Lane("77", "main", "http"), to_account=False)]
    jobs = [
        job
        for device in (first, first.at(1))
        for _, job in jobs_for(routes, ALERT, [Recipient("ben")], {("main", "ben"): [device]}, frozenset())
        if job.device_id
    ]
    assert [job.channel for job in jobs] == ["apns", "http"]
    assert len({(job.mark, job.id) for job in jobs}) == 1


def test_a_device_of_apples_sandbox_is_alerted_through_the_sandboxs_own_lane() -> None:
    devices = phone(), phone(device_id="debug", environment=ApnsEnvironment.SANDBOX)
    assert planned(*devices, routes=ALL[:2]) == {("apns", "ben", "phone"), ("apns-sandbox", "ben", "debug")}
    assert planned(*devices, routes=ALL[:1]) == {("apns", "ben", "phone")}  # the sandbox is off


def test_devices_of_another_section_or_platform_are_not_reached_through_this_lane() -> None:
    devices = replace(phone(), app="other"), replace(phone(device_id="mi"), platform=Platform.MIPUSH)
    assert planned(*devices, routes=ALL[:2]) == set()
    to_devices = Route(ACCOUNTS, to_account=False)
    assert planned(*devices, routes=[to_devices]) == {("mipush", "ben", "mi")}


def test_a_blocked_account_gets_no_job_in_any_lane() -> None:
    devices = {("main", "ben"): [phone()], ("main", "cai"): [phone("cai")]}
    jobs = jobs_for(ALL, ALERT, [Recipient("ben"), Recipient("cai")], devices, frozenset({"ben"}))
    assert {job.account for _, job in jobs} == {"cai"}


def treated(*, readers: str = "ben cai", mentions: str = "", now: datetime = NOON, **of: Preferences) -> list[Job]:
    """The jobs of readers with these preferences."""
    recipients = [Recipient(name) for name in readers.split()]
    treatments = treatments_of(ALERT, recipients, of, mentions.split(), now)
    devices = {("main", name): [phone(name)] for name in readers.split()}
    return [job for _, job in jobs_for(ALL, ALERT, recipients, devices, frozenset(), treatments)]


def test_whom_the_message_names_is_told_so_and_no_other_reader() -> None:
    assert {job.account: job.alert.mentioned for job in treated(mentions="cai")} == {"ben": False, "cai": True}
    shy = treated(mentions="cai", cai=Preferences(preview=Preview.SENDER))
    assert {(job.alert.mentioned, job.alert.text.body) for job in shy if job.account == "cai"} == {(True, "")}


def test_a_reader_who_muted_the_conversation_gets_no_job_in_any_lane_unless_they_are_mentioned() -> None:
    muted = Preferences({"topic:t1": Mute(NOON + DAY, mentions_pass=True)})
    assert {(job.channel, job.account) for job in treated(ben=muted)} == {("apns", "cai"), ("mipush", "cai")}
    assert {job.account for job in treated(ben=muted, mentions="dan ben")} == {"ben", "cai"}
    assert {job.account for job in treated(ben=muted, now=NOON + DAY)} == {"ben", "cai"}


def test_in_a_readers_quiet_hours_their_alert_alone_is_silent_and_is_the_same_job_as_at_any_time() -> None:
    quiet = Preferences(quiet_hours=QuietHours(time(11), time(13), ZoneInfo("UTC")))
    jobs = treated(ben=quiet)
    assert {(job.account, job.alert.silent) for job in jobs} == {("ben", True), ("cai", False)}
    assert {job.id for job in jobs} == {job.id for job in treated()}
    assert all(job.alert is ALERT for job in jobs if job.account == "cai")


def test_a_readers_own_preview_shows_no_more_than_they_agreed_to_on_any_channel() -> None:
    jobs = treated(ben=Preferences(preview=Preview.NONE), cai=Preferences(preview=Preview.SENDER))
    assert {(job.channel, job.account, job.alert.text) for job in jobs} == {
        (channel, account, ALERT.text.at(preview))
        for channel in ("apns", "mipush")
        for account, preview in (("ben", Preview.NONE), ("cai", Preview.SENDER))
    }


def test_a_message_to_the_twin_of_an_account_in_another_form_of_unicode_reaches_nobody_else() -> None:
    twin = unicodedata.normalize("NFD", "José")
    assert planned(phone("José"), readers=twin, routes=ALL[:2]) == set()
    assert planned(phone("José"), readers="José", routes=ALL[:2]) == {("apns", "José", "phone")}


@pytest.mark.parametrize(
    ("registered", "named", "missed"),
    [
        ("r1", ("r1",), True),
        ("r1", ("r2", "r1"), True),
        ("r2", ("r1",), False),  # it was online
        ("", ("r1",), True),  # it never said which login is its own
        ("r2", (), True),  # none named: all of them missed it
        ("", (), True),
    ],
)
def test_named_logins_narrow_only_devices_that_named_theirs(
    registered: str, named: tuple[str, ...], missed: bool
) -> None:
    assert missed_it(phone(resource=registered), Recipient("ben", named)) is missed
