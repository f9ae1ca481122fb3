"""What had to arrive, and whether it did."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.chaos.evidence import Evidence
from tests.chaos.ownership import Hold, Owner
from tests.chaos.pushes import Address, Push
from tests.chaos.read_and_recalled import Notices
from tests.chaos.recovery import recoveries
from tests.chaos.sent_messages import Callback, Message
from tests.chaos.standstill import Wait
from tests.chaos.verdict import Finding

_BEFORE_THE_KILL_MS = 300


@dataclass
class Arrivals:
    """`counted`: due, superseded, told together, withdrawn, undecidable, lost with the store.

    `worst`: the longest wait after a fault.

    `waits`: of all alerts that came and surely had to.
    """

    findings: list[Finding] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    worst: tuple[int, str] | None = None
    waits: list[Wait] = field(default_factory=list)


class Due(NamedTuple):
    """What is known of an alert: since when it had its 200, when its last such post was asked, whether it is due."""

    accepted_ms: int
    last_asked_ms: int
    hold: Hold


def judge_arrivals(
    evidence: Evidence,
    alerts: Mapping[tuple[str, Owner], Due],
    notices: Notices,
    may_tell: Callable[[str, Owner], bool],
) -> Arrivals:
    """`alerts` are those that are due, or may be; `may_tell` says which were perhaps told with others."""
    found = Arrivals(findings=list(_hidden(evidence)))
    recovery = recoveries(evidence.faults)
    latest = _latest(evidence)
    for (word, owner), due in alerts.items():
        addresses = evidence.ownership.addresses(owner)
        came = [push for address in addresses for push in evidence.at.get((word, address), ())]
        if came:
            found.counted["due"] += 1
            first = min(came, key=lambda push: push.ms)
            lane = evidence.messages[word].app, first.provider
            if due.hold is Hold.SURELY and not _emptied_between(evidence, due.accepted_ms, first.came_ms):
                found.waits.append(Wait(lane, due.accepted_ms, first.came_ms))
            if (waited := recovery[first.provider].wait_ms(due.accepted_ms, first.ms)) is not None:
                found.worst = max(found.worst or (-1, ""), (waited, f"{word} for {owner}, which came at {first.ms}"))
        elif any(_is_covered(evidence.messages[word], address, latest) for address in addresses):
            found.counted["due"] += 1
            found.counted["superseded"] += 1
        elif may_tell(word, owner):
            found.counted["due"] += 1
            found.counted["told together"] += 1
        elif notices.may_explain(word, owner.account):
            found.counted["due"] += 1
            found.counted["withdrawn"] += 1
        elif any(due.last_asked_ms < begin + _BEFORE_THE_KILL_MS for begin, _ in evidence.emptied):
            found.counted["lost with the store"] += 1
        elif due.hold is Hold.PERHAPS:
            found.counted["undecidable"] += 1
        else:
            found.counted["due"] += 1
            times = f"answered 200 at {due.accepted_ms}, never pushed"
            found.findings.append(Finding("lost", word, str(owner), times))
    return found


def alerts_due(evidence: Evidence) -> dict[tuple[str, Owner], Due]:
    found: dict[tuple[str, Owner], Due] = {}
    for callback in evidence.callbacks:
        message = evidence.messages[callback.word]
        for account in callback.recipients:
            if account != message.sender:
                for owner in evidence.ownership.owners(message.app, account):
                    if due := _due_by(evidence, callback, owner):
                        alert = callback.word, owner
                        found[alert] = _joined(found.get(alert), due)
    return found


def _due_by(evidence: Evidence, callback: Callback, owner: Owner) -> Due | None:
    """What this callback alone makes due to a device of an account that it names."""
    if callback.accepted_ms is None:
        return None
    hold = evidence.ownership.hold(owner, callback.first_asked_ms)
    if hold is Hold.NO:
        return None
    resources = callback.recipients[owner.account]
    if owner.device and resources and (login := evidence.ownership.resource(owner)) and login not in resources:
        return None
    return Due(callback.accepted_ms, callback.last_accepted_asked_ms, hold)


def _joined(one: Due | None, other: Due) -> Due:
    """What two callbacks about one message make due together: a certainty outweighs a possibility."""
    if one is None or (one.hold is Hold.PERHAPS and other.hold is Hold.SURELY):
        return other
    if one.hold is not other.hold:
        return one
    return Due(min(one.accepted_ms, other.accepted_ms), max(one.last_asked_ms, other.last_asked_ms), one.hold)


def _latest(evidence: Evidence) -> dict[tuple[Address, str], Message]:
    """The latest message of each conversation on each address where messages cover each other."""
    latest: dict[tuple[Address, str], Message] = {}
    for push in evidence.pushes:
        if push.notify_id is not None:
            message = evidence.messages[push.word]
            key = push.address, message.conversation
            if key not in latest or message.is_later_than(latest[key]):
                latest[key] = message
    return latest


def _emptied_between(evidence: Evidence, accepted_ms: int, came_ms: int) -> bool:
    """The store lost it in between: it came because MIMC posted it again."""
    return any(begin <= came_ms and accepted_ms <= end for begin, end in evidence.emptied)


def _is_covered(message: Message, address: Address, latest: Mapping[tuple[Address, str], Message]) -> bool:
    covering = latest.get((address, message.conversation))
    return covering is not None and not message.is_later_than(covering)


def _hidden(evidence: Evidence) -> Iterator[Finding]:
    """Two messages under one identity: the phone keeps the later push (APNs) or drops it (MiPush)."""
    words: dict[tuple[Address, str], dict[str, Push]] = defaultdict(dict)
    for push in evidence.pushes:
        if push.item is not None:
            words[push.address, push.item].setdefault(push.word, push)
    for (address, item), found in words.items():
        for first, second in itertools.pairwise(found.values()):
            times = f"pushed at {first.ms} as {item}, which {second.word} had at {second.ms}"
            yield Finding("lost", first.word, address[1], times)
