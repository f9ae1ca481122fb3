"""What people saw: whether it was theirs to see, once, and in order."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence

from tests.chaos.evidence import Evidence
from tests.chaos.ownership import Owner
from tests.chaos.pushes import Address, Push
from tests.chaos.verdict import Finding

MOVED_MS = 2_000  # a push may leave a second after its address was read; and a little for a slow machine

Reader = Owner | Address


class ObservedAlerts:
    """The pushes by who saw them: a reader's phone, or the bare address where its owner is not known.

    A phone that changed hands between two readers of one message is alerted for each of them. `excused` counts the
    repeats by what explains them.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._sharing: dict[tuple[str, Reader], set[Owner]] = defaultdict(set)  # who may have had an alert's address
        self.findings: list[Finding] = []
        self.excused = Counter[str]()
        self._readers = [self._reader(push) for push in evidence.pushes]
        self._alerts: dict[tuple[str, Reader], list[Push]] = defaultdict(list)
        for push, reader in zip(evidence.pushes, self._readers, strict=True):
            self._alerts[push.word, reader].append(push)
        for (word, reader), pushes in self._alerts.items():
            if len(pushes) > 1:
                self._judge_items(word, reader, pushes)
                self._judge_repeats(word, reader, sorted(pushes, key=lambda push: push.came_ms))
        self._judge_order()

    @property
    def delivered(self) -> int:
        """How many alerts were pushed at least once."""
        return len(self._alerts)

    def _reader(self, push: Push) -> Reader:
        readers = self._evidence.readers[push.word]
        if push.address[0] == "account":
            if push.address[1] not in readers:
                self._find("wrong phone", push.word, push.address, f"pushed at {push.came_ms}, is no reader")
            return push.address
        ownership = self._evidence.ownership
        owners = ownership.possible_owners(push.address, push.came_ms - MOVED_MS, push.ms)
        reading = dict.fromkeys(ownership.phone_of(owner) for owner in owners if owner.account in readers)
        if not reading:
            whose = " or ".join(map(str, owners)) or "no owner"
            self._find("wrong phone", push.word, push.address, f"pushed at {push.came_ms}, then {whose}'s")
        if len(reading) == 1:
            return next(iter(reading))
        self._sharing[push.word, push.address].update(reading)
        return push.address

    def _judge_items(self, word: str, reader: Reader, pushes: Sequence[Push]) -> None:
        items = {push.item for push in pushes}
        if len(items) > 1 or None in items:
            self._find("shown twice", word, reader, ", ".join(f"{push.item} at {push.ms}" for push in pushes))

    def _judge_repeats(self, word: str, reader: Reader, pushes: Sequence[Push]) -> None:
        more_readers = len(self._sharing.get((word, reader), ())) - 1
        for first, second in itertools.pairwise(pushes):
            excuse = self._excuse(reader, first, second)
            if excuse is None and more_readers > 0:
                more_readers -= 1
                excuse = "the phone may have been another reader's"
            if excuse is None:
                times = f"pushed at {first.ms} from port {first.port}, again at {second.ms} from port {second.port}"
                self._find("unexcused repeat", word, reader, times)
            else:
                self.excused[excuse] += 1

    def _excuse(self, reader: Reader, first: Push, second: Push) -> str | None:
        if isinstance(reader, Owner) and self._evidence.ownership.others_between(
            second.address, reader.account, first.came_ms, second.came_ms
        ):
            return "the phone was another's in between"
        return self._evidence.excuses.of(first, second)

    def _judge_order(self) -> None:
        """A phone drops a jobkey that it has had, so only an item's first push can cover another.

        What a phone shows of its former owner belongs to no reader any more: another reader's messages may cover it,
        and so may those whose reader is not known.
        """
        messages = self._evidence.messages
        seen: set[tuple[Address, str | None]] = set()
        latest: dict[tuple[Reader, str, str], Push] = {}
        for push, reader in zip(self._evidence.pushes, self._readers, strict=True):
            if push.notify_id is None or (push.address, push.item) in seen:
                continue
            seen.add((push.address, push.item))
            if self._sharing.get((push.word, reader)):
                continue
            message = messages[push.word]
            key = reader, push.notify_id, message.conversation
            before = latest.get(key)
            if before is None or not messages[before.word].is_later_than(message):
                latest[key] = push
            elif not self._forgotten_between(before, push):
                self._find("order", push.word, push.address, f"pushed at {push.ms}, {before.word} at {before.ms}")

    def _forgotten_between(self, before: Push, after: Push) -> bool:
        """The store came back empty between them: what the phone shows was forgotten with the rest. Or a failover lost
        that the later one was pushed.
        """
        return self._evidence.excuses.may_be_forgotten(before) or any(
            before.ms <= end and begin <= after.ms for begin, end in self._evidence.emptied
        )

    def _find(self, kind: str, word: str, whose: Reader, times: str) -> None:
        name = str(whose) if isinstance(whose, Owner) else whose[1]
        self.findings.append(Finding(kind, word, name, times))
