"""One message becomes jobs: one alert for each device of each person whom it did not reach. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from proxy.domain.alerts import Alert
from proxy.domain.callbacks import Recipient
from proxy.domain.devices import Device
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane, Route
from proxy.domain.messages import Content
from proxy.domain.offline_messages import OfflineMessage
from proxy.domain.preferences import AS_USUAL, DEFAULT, Preferences, Treatment
from proxy.domain.previews import Preview, strictest

Planned = tuple[Lane, Job]
_NO_TREATMENTS: Mapping[str, Treatment] = MappingProxyType({})


class PlanResult(StrEnum):
    """What became of a message; all but the first two say why no alert follows."""

    PLANNED = "planned"
    WAITS = "waits for a full lane"
    NO_TEXT = "its type is not shown"
    NO_READERS = "only its sender missed it"
    EXPIRED = "expired"
    NO_DEVICES = "no device of the readers"
    BLOCKED = "readers are blocked"
    PRESENT = "readers have the app open"
    MUTED = "readers have muted the conversation"
    FOLDED = "folded into later updates"
    KNOWN = "planned before"
    RECALLED = "recalled before it was planned"
    WITHDRAWS = "takes alerts back"


def alert_of(message: OfflineMessage, content: Content, now: datetime, ttl: timedelta) -> Alert | PlanResult:
    """What people should see of a message with this content, or why there is nothing to see."""
    if content.silent:
        return PlanResult.NO_TEXT
    life = ttl if content.expiry is None else min(ttl, content.expiry)
    text = content.alert_text(message.sender)
    if content.tells_sender and message.conversation.startswith("topic:"):  # of two, the conversation names them
        text = replace(text, sender=message.sender)
    alert = message.alert(text, life, urgent=content.urgent)
    return alert if alert.expires_at > now else PlanResult.EXPIRED


def readers_of(message: OfflineMessage) -> list[Recipient]:
    """The recipients without the sender, who may be a member of the group."""
    return [reader for reader in message.recipients if reader.account != message.sender]


def treatments_of(
    alert: Alert,
    readers: Sequence[Recipient],
    preferences: Mapping[str, Preferences],
    mentions: Collection[str],
    now: datetime,
) -> dict[str, Treatment]:
    """How those are told of it who have set anything, or whom the message names: `mentions` are accounts."""
    return {
        account: preferences.get(account, DEFAULT).treatment(
            alert.conversation, now, urgent=alert.urgent, mentioned=account in mentions
        )
        for account in (reader.account for reader in readers)
        if account in preferences or account in mentions
    }


def jobs_for(
    routes: Sequence[Route],
    alert: Alert,
    readers: Sequence[Recipient],
    devices: Mapping[tuple[str, str], Sequence[Device]],
    blocked: Collection[str],
    treatments: Mapping[str, Treatment] = _NO_TREATMENTS,
) -> list[Planned]:
    """The jobs of these readers through these routes.

    `devices` by (app section, account); `blocked` are accounts as MIMC names them, and `treatments` by account. For
    MIMC two ways of composing the same letters are two users, so that a name counts as it is written.
    """
    alerted = [reader for reader in readers if reader.account not in blocked]
    if not treatments:
        return _jobs(routes, alert, alerted, devices)
    alike: dict[Treatment, list[Recipient]] = {}
    for reader in alerted:
        alike.setdefault(treatments.get(reader.account, AS_USUAL), []).append(reader)
    jobs = list[Planned]()
    for treatment, some in alike.items():
        if not treatment.muted:
            jobs += _jobs(routes, _as_treated(alert, treatment), some, devices)
    return jobs


def _as_treated(alert: Alert, treatment: Treatment) -> Alert:
    shown = alert.at(treatment.preview)
    if treatment.silent or treatment.mentioned:
        return replace(shown, silent=treatment.silent, mentioned=treatment.mentioned)
    return shown


def _jobs(
    routes: Sequence[Route],
    alert: Alert,
    readers: Sequence[Recipient],
    devices: Mapping[tuple[str, str], Sequence[Device]],
) -> list[Planned]:
    jobs = list[Planned]()
    for route in routes:
        lane, shown = route.lane, alert.at(route.preview)
        for reader in readers:
            if route.to_account:
                jobs.append((lane, Job(lane.app, lane.channel, reader.account, "", shown)))
                continue
            for device in devices.get((lane.app, reader.account), ()):
                if device.channel == lane.channel and missed_it(device, reader):
                    is_open = device.preview is Preview.FULL
                    its_own = shown if is_open else alert.at(strictest(route.preview, device.preview))
                    jobs.append((lane, _job_for(lane, device, its_own)))
    return jobs


def missed_it(device: Device, reader: Recipient) -> bool:
    """MIMC may name the logins that missed a message; a device that named its own is alerted only if it is one."""
    return not reader.resources or not device.resource or device.resource in reader.resources


def _job_for(lane: Lane, device: Device, alert: Alert) -> Job:
    return Job(
        lane.app, lane.channel, device.account, device.device_id, alert,
        token_digest=device.token_digest, first_platform=device.first_platform,
    )  # fmt: skip
