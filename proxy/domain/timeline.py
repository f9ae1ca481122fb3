"""Notes of the history as a story that a person can read: what happened to each message, step by step. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from proxy.domain.history import Note, Noted, Reason
from proxy.domain.receipts import NOTED
from proxy.domain.times import from_ms

_WAITS = (Reason.WAITS_FOR_PLAN, Reason.WAITS_FOR_ROOM, Reason.WAITS_FOR_TRY, Reason.WAITS_IN_LANE)
_PUT_OFF = ("retry", "paused", "other environment", "goes to a fallback")
_TAKEN_BACK = (Reason.TAKEN_BACK, Reason.NOT_TAKEN_BACK)
_RECEIPTS = frozenset(NOTED.values())


class Step(StrEnum):
    """In the order in which they happen."""

    SENT = "MIMC sent"  # by MIMC's clock, as it was given
    ACCEPTED = "accepted"
    PLANNED = "planned"
    TRIED = "tried"
    PUSHED = "sent"
    ANSWERED = "answered"
    ENDED = "ended"  # without a push
    WAITS = "waits"
    DELIVERED = "delivered"  # this and the next two by the provider's clock, as it was given
    CLICKED = "clicked"
    REPORTED = "reported"  # what else the provider says of the phone
    TAKEN_BACK = "taken back"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a story. `account` "": it is about the message; `device_id` "": about the account."""

    at: datetime
    step: Step
    account: str = ""
    device_id: str = ""
    place: str = ""
    says: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """What happened to one message, for those of whom there are notes."""

    message_id: str
    conversation: str
    events: Sequence[Event]


def stories(noted: Iterable[Noted]) -> list[Story]:
    """By message, in the order of acceptance; of those about which only receipts are left, of the push."""
    by_message: dict[str, list[Noted]] = {}
    for one in noted:
        by_message.setdefault(one.note.message_id, []).append(one)
    told = sorted(by_message.values(), key=lambda some: min(_began(one.note) for one in some))
    return [_story(some) for some in told]


def _story(noted: Sequence[Noted]) -> Story:
    first = min(noted, key=lambda one: (not one.note.accepted_at_ms, one.note.accepted_at_ms)).note
    events = [Event(from_ms(first.sent_at_ms), Step.SENT)] if first.sent_at_ms else []
    if first.accepted_at_ms:
        events.append(Event(from_ms(first.accepted_at_ms), Step.ACCEPTED))
    by_target: dict[tuple[str, str, str], list[Noted]] = {}
    for one in noted:
        by_target.setdefault((one.note.account, one.note.app, one.note.device_id), []).append(one)
    for some in by_target.values():
        events += _of_target(sorted(some, key=lambda one: one.at))
    return Story(first.message_id, first.conversation, events)


def _began(note: Note) -> int:
    return note.accepted_at_ms or note.pushed_at_ms


def _of_target(noted: Sequence[Noted]) -> list[Event]:
    """What happened up to the push, then what came of it: a provider's clock may be behind ours, and it says things
    twice."""
    of_job = [one for one in noted if not _is_later(one.note)]
    later = dict.fromkeys(_later(one) for one in noted if _is_later(one.note))
    return [*_of_job(of_job), *later]


def _of_job(noted: Sequence[Noted]) -> list[Event]:
    """What a later note says of the time before is left out: it has all tries."""
    if not noted:
        return []
    last = noted[-1].note
    events = list[Event]()
    if last.planned_at_ms:
        events.append(_event(from_ms(last.planned_at_ms), Step.PLANNED, last, ""))
    tries = {(it.at, it.reason) for it in last.tries}
    events += [_event(it.at, Step.TRIED, last, it.reason) for it in last.tries]
    for index, one in enumerate(noted):
        if one.note.result in _PUT_OFF and index < len(noted) - 1:
            if not any(reason == one.note.reason for _, reason in tries):
                events.append(_event(one.at, Step.WAITS, one.note, says(one.note)))
            continue
        events += _end(one)
    return sorted(events, key=lambda event: event.at)


def _end(noted: Noted) -> list[Event]:
    note = noted.note
    if note.result in _WAITS or note.result in _PUT_OFF:
        return [_event(noted.at, Step.WAITS, note, says(note))]
    if not note.pushed_at_ms:
        return [_event(noted.at, Step.ENDED, note, says(note))]
    return [
        _event(from_ms(note.pushed_at_ms), Step.PUSHED, note, "without a sound" if note.silent else ""),
        _event(from_ms(note.ended_at_ms), Step.ANSWERED, note, says(note)),
    ]


def _is_later(note: Note) -> bool:
    return note.result in _RECEIPTS or note.result in _TAKEN_BACK


def _later(noted: Noted) -> Event:
    note = noted.note
    if note.result in _TAKEN_BACK:
        return _event(noted.at, Step.TAKEN_BACK, note, note.reason if note.result == Reason.TAKEN_BACK else says(note))
    if note.result in (Step.DELIVERED, Step.CLICKED):
        took_s = max(note.ended_at_ms - note.pushed_at_ms, 0) / 1000 if note.pushed_at_ms else 0
        return _event(noted.at, Step(note.result), note, f"{took_s:.3f} s after it was sent" if took_s else "")
    return _event(noted.at, Step.REPORTED, note, says(note))


def says(note: Note) -> str:
    result = note.result or "ended in a way that this program does not know"
    return f"{result}: {note.reason}" if note.reason else result


def _event(at: datetime, step: Step, note: Note, text: str) -> Event:
    place = f"{note.app}/{note.channel}" if note.app else ""
    return Event(at, step, note.account, note.device_id, place, text)
