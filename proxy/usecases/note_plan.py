"""Why readers of a message got no job, for the history. Pure. Readers who got one are noted when the job ends."""

from collections.abc import Mapping, Sequence

from proxy.domain.callbacks import Recipient
from proxy.domain.devices import AccountsRead
from proxy.domain.history import Note, Reason, shortened
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane, Route
from proxy.domain.offline_messages import OfflineMessage
from proxy.domain.preferences import AS_USUAL, Treatment
from proxy.domain.times import to_ms
from proxy.usecases.plan_alerts import PlanResult

_OF_ALL = {
    PlanResult.NO_TEXT: Reason.KIND_IS_SILENT,
    PlanResult.EXPIRED: Reason.EXPIRED,
    PlanResult.RECALLED: Reason.RECALLED,
}


def note_of_reader(
    message: OfflineMessage, result: str, account: str, device_id: str = "", lane: Lane | None = None
) -> Note:
    app, channel = (lane.app, lane.channel) if lane else ("", "")
    return Note(
        shortened(message.message_id), message.conversation, to_ms(message.accepted_at), message.sent_at_ms, result,
        account, device_id, app, channel,
    )  # fmt: skip


def notes_of_own(message: OfflineMessage) -> list[Note]:
    """The sender of a message to a group may be among its recipients."""
    is_own = any(it.account == message.sender for it in message.recipients)
    return [note_of_reader(message, Reason.OWN_MESSAGE, message.sender)] if is_own else []


def notes_of_all(message: OfflineMessage, alert: PlanResult, readers: Sequence[Recipient]) -> list[Note]:
    """None of them got an alert."""
    return [note_of_reader(message, _OF_ALL[alert], reader.account) for reader in readers]


def notes_of_some(
    message: OfflineMessage,
    readers: Sequence[Recipient],
    routes: Sequence[Route],
    found: AccountsRead,
    treatments: Mapping[str, Treatment],
    jobs: Sequence[tuple[Lane, Job]],
) -> list[Note]:
    """Of readers and of their devices: all that are not in `jobs`, which were made with these `routes`."""
    if len(readers) == 1 and _has_all(readers[0].account, routes, found, jobs):
        return []
    alerted = {(job.app, job.account, job.device_id) for _, job in jobs}
    reached = {job.account for _, job in jobs}
    lanes = {route.lane for route in routes}
    places = {(route.lane.app_id, route.lane.app) for route in routes if not route.to_account}
    facts = shortened(message.message_id), message.conversation, to_ms(message.accepted_at), message.sent_at_ms
    notes = list[Note]()
    for reader in readers:
        account = reader.account
        if (reason := _of_account(account, found, treatments)) is not None:
            notes.append(Note(*facts, reason, account))
            continue
        has_device = account in reached
        for app_id, app in places:
            for device in found.devices.get((app, account), ()):
                has_device = True
                if (app, account, device.device_id) not in alerted:
                    lane = Lane(app_id, app, device.channel)
                    reason = Reason.ONLINE if lane in lanes else Reason.CHANNEL_OFF
                    notes.append(note_of_reader(message, reason, account, device.device_id, lane))
        if not has_device:
            notes.append(Note(*facts, Reason.NO_DEVICE, account))
    return notes


def _has_all(account: str, routes: Sequence[Route], found: AccountsRead, jobs: Sequence[tuple[Lane, Job]]) -> bool:
    """There is a job for each of the account's devices: so it is with most messages between two people."""
    devices = sum(
        len(found.devices.get((app, account), ())) for app in {it.lane.app for it in routes if not it.to_account}
    )
    return 0 < len(jobs) == devices + sum(it.to_account for it in routes)


def _of_account(account: str, found: AccountsRead, treatments: Mapping[str, Treatment]) -> Reason | None:
    if account in found.blocked:
        return Reason.BLOCKED
    if account in found.present:
        return Reason.PRESENT
    return Reason.MUTED if treatments.get(account, AS_USUAL).muted else None
