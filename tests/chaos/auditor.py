"""The auditor: judges a run by what the outside world saw of it, and trusts none of the service's own records.

It reads the run log (runlog.py) and the emulators' journals, nothing else, and shares no code with the service.

    lost              the callback was answered 200, the alert is due, and neither was a push of it accepted nor, where
                      alerts cover each other (MiPush, one conversation), one of a later message; or another message
                      has its identity, so that the phone shows only one of them
    shown twice       a phone holds two items of one message: one word under two collapse ids or jobkeys
    unexcused repeat  a second accepted push of one (message, device) that no fault explains (faults.py)
    order             an earlier message came onto a phone that keeps one item a conversation after a later one
    wrong phone       a push at an address that for MOVED_MS had belonged to none of the message's readers

An alert is due for each device that surely was a reader's before the callback was first posted and stayed his, whose
address no provider called dead, and that was not told apart by the logins that missed the message; never for the
sender. What cannot be decided from outside is counted apart. Runs are far shorter than an alert's life of 24 h, so
none expires. Later means a larger sequence; in the old form, which has none, a later time of sending.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.chaos.faults import Excuses, dead_addresses, read_faults, spans_of
from tests.chaos.ownership import Hold, Owner, Ownership
from tests.chaos.pushes import Address, Journal, Push, accepted_pushes
from tests.chaos.recovery import Spells
from tests.chaos.said import Callback, Message, read_callbacks, read_messages
from tests.chaos.verdict import Finding, Verdict

MOVED_MS = 2_000  # a push may leave a second after its address was read; and a little for a slow machine
_BEFORE_THE_KILL_MS = 300

Alert = tuple[str, Owner]


def audit(
    events: Sequence[Mapping[str, Any]],
    journals: Sequence[Journal],
    *,
    push_timeout_s: float = 1.4,
    by_account: Iterable[str] = ("main",),
) -> Verdict:
    """Judge a run. `push_timeout_s` is how long its workers wait for an answer, as in the rig.

    `by_account` names the app sections whose MiPush is told accounts instead of regIds.
    """
    return _Audit(events, journals, push_timeout_s, by_account).verdict()


class Due(NamedTuple):
    """What is known of an alert: from when we had it for good, until when it was posted with 200, and if it is due."""

    accepted_ms: int
    last_asked_ms: int
    hold: Hold


class _Audit:
    def __init__(
        self,
        events: Sequence[Mapping[str, Any]],
        journals: Sequence[Journal],
        push_timeout_s: float,
        by_account: Iterable[str],
    ) -> None:
        self.messages = read_messages(events)
        self.callbacks = read_callbacks(events)
        self.faults = read_faults(events)
        self.emptied = spans_of(self.faults, "empty_store")
        self.ownership = Ownership(events, by_account, self.emptied, dead_addresses(self.faults))
        self.pushes, self.wordless = accepted_pushes(journals, self.messages)
        self.readers: dict[str, set[str]] = defaultdict(set)
        for it in self.callbacks:
            self.readers[it.word].update(it.recipients)
        self.at: dict[tuple[str, Address], list[Push]] = defaultdict(list)
        for push in self.pushes:
            self.at[push.word, push.address].append(push)
        asked_ms: dict[str, list[int]] = defaultdict(list)
        for it in self.callbacks:
            asked_ms[it.word] += it.asked_ms
        self.excuses = Excuses(self.faults, self.pushes, asked_ms, push_timeout_s)
        self.findings: list[Finding] = []
        self.reader_of: list[Owner | Address] = []  # one for each push
        self.sharing: dict[tuple[str, object], set[Owner]] = defaultdict(set)  # who may have had an alert's address
        self.excused = Counter[str]()
        self.counted = Counter[str]()
        self.waits: list[int] = []

    def verdict(self) -> Verdict:
        groups = self._by_person()
        self._judge_due()
        self._judge_identities()
        for whose, pushes in groups.items():
            self._judge_group(whose, pushes)
        self._judge_order()
        return Verdict(
            messages=len(self.messages),
            due=self.counted["due"],
            duplicates=sum(it.posts - 1 for it in self.callbacks),
            faults=Counter(it.kind for it in self.faults),
            findings=tuple(self.findings),
            pushes=len(self.pushes),
            delivered=len(groups),
            worst_recovery_ms=max(self.waits, default=None),
            superseded=self.counted["superseded"],
            undecidable=self.counted["undecidable"],
            lost_with_the_store=self.counted["lost with the store"],
            never_taken=sum(it.accepted_ms is None for it in self.callbacks),
            wordless=self.wordless,
            excused=self.excused,
        )

    # lost

    def _judge_due(self) -> None:
        # a dead token, which may stay dead for ever, keeps no other phone from recovering
        spells = Spells((it.begin_ms, it.end_ms) for it in self.faults if it.kind != "provider_410")
        latest = self._latest()
        for (word, owner), due in self._due().items():
            addresses = self.ownership.addresses(owner)
            came = [it for address in addresses for it in self.at.get((word, address), ())]
            if came:
                self.counted["due"] += 1
                if (waited := spells.wait_ms(due.accepted_ms, min(it.ms for it in came))) is not None:
                    self.waits.append(waited)
            elif any(self._is_covered(word, address, latest) for address in addresses):
                self.counted["due"] += 1
                self.counted["superseded"] += 1
            elif any(due.last_asked_ms < begin + _BEFORE_THE_KILL_MS for begin, _ in self.emptied):
                self.counted["lost with the store"] += 1
            elif due.hold is Hold.PERHAPS:
                self.counted["undecidable"] += 1
            else:
                self.counted["due"] += 1
                self._find("lost", word, _name(owner), f"answered 200 at {due.accepted_ms}, never pushed")

    def _due(self) -> dict[Alert, Due]:
        found: dict[Alert, Due] = {}
        for callback in self.callbacks:
            if callback.accepted_ms is None:
                continue
            message = self.messages[callback.word]
            for account, resources in callback.recipients.items():
                if account == message.sender:
                    continue
                for owner in self.ownership.owners(message.app, account):
                    self._add_due(found, callback, owner, resources)
        return found

    def _add_due(self, found: dict[Alert, Due], callback: Callback, owner: Owner, resources: frozenset[str]) -> None:
        hold = self.ownership.hold(owner, callback.first_asked_ms)
        if hold is Hold.NO or callback.accepted_ms is None:
            return
        if owner.device and resources and (login := self.ownership.resource(owner)) and login not in resources:
            return
        alert = callback.word, owner
        before = found.get(alert)
        if before is None or (before.hold, hold) == (Hold.PERHAPS, Hold.SURELY):
            found[alert] = Due(callback.accepted_ms, callback.last_accepted_asked_ms, hold)
        elif hold is before.hold:
            found[alert] = Due(
                min(before.accepted_ms, callback.accepted_ms),
                max(before.last_asked_ms, callback.last_accepted_asked_ms), hold,
            )  # fmt: skip

    def _latest(self) -> dict[tuple[Address, str], Message]:
        """The latest message of each conversation on each address where messages cover each other."""
        latest: dict[tuple[Address, str], Message] = {}
        for push in self.pushes:
            if push.line is not None:
                message = self.messages[push.word]
                key = push.address, message.conversation
                if key not in latest or message.is_later_than(latest[key]):
                    latest[key] = message
        return latest

    def _is_covered(self, word: str, address: Address, latest: Mapping[tuple[Address, str], Message]) -> bool:
        message = self.messages[word]
        covering = latest.get((address, message.conversation))
        return covering is not None and not message.is_later_than(covering)

    def _judge_identities(self) -> None:
        """Two messages under one identity: the phone keeps the later push (APNs) or drops it (MiPush)."""
        words: dict[tuple[Address, str], dict[str, Push]] = defaultdict(dict)
        for push in self.pushes:
            if push.item is not None:
                words[push.address, push.item].setdefault(push.word, push)
        for (address, item), found in words.items():
            for first, second in itertools.pairwise(found.values()):
                times = f"pushed at {first.ms} as {item}, which {second.word} had at {second.ms}"
                self._find("lost", first.word, address[1], times)

    # shown twice, unexcused repeats, wrong phone

    def _by_person(self) -> dict[tuple[str, object], list[Push]]:
        """The pushes of each alert: by its reader's phone, or by the address where that cannot be told.

        A phone that changed hands between two readers of one message is told of it for each of them.
        """
        groups: dict[tuple[str, object], list[Push]] = defaultdict(list)
        for push in self.pushes:
            reader = self._reader(push)
            self.reader_of.append(reader)
            groups[push.word, reader].append(push)
        return groups

    def _reader(self, push: Push) -> Owner | Address:
        readers = self.readers[push.word]
        if push.address[0] == "account":
            if push.address[1] not in readers:
                self._find("wrong phone", push.word, push.address[1], f"pushed at {push.came_ms}, is no reader")
            return push.address
        owners = self.ownership.possible_owners(push.address, push.came_ms - MOVED_MS, push.ms)
        reading = list(dict.fromkeys(self.ownership.phone_of(it) for it in owners if it.account in readers))
        if not reading:
            whose = " or ".join(map(_name, owners)) or "nobody"
            self._find("wrong phone", push.word, push.address[1], f"pushed at {push.came_ms}, then {whose}'s")
        if len(reading) == 1:
            return reading[0]
        self.sharing[push.word, push.address].update(reading)
        return push.address

    def _judge_group(self, whose: tuple[str, object], pushes: list[Push]) -> None:
        if len(pushes) == 1:
            return
        word, reader = whose
        name = _name(reader) if isinstance(reader, Owner) else str(reader)
        items = {it.item for it in pushes}
        if len(items) > 1 or None in items:
            shown = ", ".join(f"{it.item} at {it.ms}" for it in pushes)
            self._find("shown twice", word, name, shown)
        more_readers = len(self.sharing.get(whose, ())) - 1
        for first, second in itertools.pairwise(sorted(pushes, key=lambda it: it.came_ms)):
            excuse = self.excuses.of(first, second)
            if isinstance(reader, Owner) and self.ownership.others_between(
                second.address, reader.account, first.came_ms, second.came_ms
            ):
                excuse = "the phone was another's in between"
            if excuse is None and more_readers > 0:
                more_readers -= 1
                excuse = "the phone may have been another reader's"
            if excuse is None:
                times = f"pushed at {first.ms} from port {first.port}, again at {second.ms} from port {second.port}"
                self._find("unexcused repeat", word, name, times)
            else:
                self.excused[excuse] += 1

    # order

    def _judge_order(self) -> None:
        """A phone drops a jobkey that it has had, so only an item's first push can cover another.

        What a phone shows of its former owner is nobody's any more: another reader's messages may cover it, and so
        may those of which it cannot be told whose they were.
        """
        seen: set[tuple[Address, str | None]] = set()
        latest: dict[tuple[object, str, str], Push] = {}
        for push, reader in zip(self.pushes, self.reader_of, strict=True):
            if push.line is None or (push.address, push.item) in seen:
                continue
            seen.add((push.address, push.item))
            if self.sharing.get((push.word, reader)):
                continue
            message = self.messages[push.word]
            key = reader, push.line, message.conversation
            before = latest.get(key)
            if before is None or not self.messages[before.word].is_later_than(message):
                latest[key] = push
            elif not self._forgotten_between(before, push):
                self._find("order", push.word, push.address[1], f"pushed at {push.ms}, {before.word} at {before.ms}")

    def _forgotten_between(self, before: Push, after: Push) -> bool:
        """The store came back empty between them: what the phone shows was forgotten with the rest."""
        return any(before.ms <= end and begin <= after.ms for begin, end in self.emptied)

    def _find(self, kind: str, word: str, alert: str, times: str) -> None:
        self.findings.append(Finding(kind, word, alert, times))


def _name(owner: Owner) -> str:
    return "/".join(part for part in owner if part)
