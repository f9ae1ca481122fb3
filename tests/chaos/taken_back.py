"""What is read or recalled must go from phones and from their numbers, and nothing else may.

A RECALL counts where its sender wrote the message; it is about the accounts that it names. A READ is about its own
sender's phones: the message that it names, and those of the conversation that were accepted before it. Each is carried
out once it was answered 200, except that a READ does nothing about what is not planned yet. Which that was nobody can
see from outside, so that only what was pushed before the READ was posted must go.

Excused, each by name:

- the phone changed hands or environments in between;
- a failover of the store, which may have lost that the alert had been pushed, or the number told, just then;
- the store came back empty, for it knows no more then what a phone shows, or who has read what;
- a READ of a later message, where this one has no id of its own (it is no JSON), which is how messages are known;
- the same, where this one has no sequence (the form of 2018), by which an iPhone's app would find it;
- an alert that Mi Push took, and nobody heard so: it is tried again after ten minutes, and taken back only then;
- what Mi Push showed of a conversation is taken back for a later message whose push was not answered, or
  whose answer was lost with a process;
- what MiPush tells together after an alert is taken back with that alert, where this is the latest of them;
- a number that was right a moment before: two pushes to one phone may arrive the other way round;
- a number, where the phone's own login had the latest message online, so that no push told it.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from tests.chaos.arrivals import Due
from tests.chaos.evidence import Evidence
from tests.chaos.faults import UNHEARD
from tests.chaos.ownership import Hold, Owner
from tests.chaos.phones import Badge, Phones
from tests.chaos.pushes import Address, Push, TakenBack
from tests.chaos.read_and_recalled import READ, Notices
from tests.chaos.verdict import Finding

_FOR_EVER = 1 << 62
PASSED_MS = 2_000  # a push leaves within its lease, 3 s here, of the look at its number; on a busy machine that late


@dataclass
class TakenBackFound:
    """`counted`: withdrawals pushed, alerts that had to go, numbers that were looked at. `excused` by their excuse."""

    findings: list[Finding] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)


class TakenBackJudge:
    """`due` are all alerts of the run, `phones` what they show in the end (None: that is not known)."""

    def __init__(
        self, evidence: Evidence, notices: Notices, due: Mapping[tuple[str, Owner], Due], phones: Phones | None
    ) -> None:
        self._evidence, self._notices, self._due, self._phones = evidence, notices, due, phones
        self._emptied_ms = max((end for _, end in evidence.emptied), default=-1)
        self._readers: dict[tuple[str, str], set[str]] = defaultdict(set)  # the words for each account
        self._untaken = set[tuple[str, str]]()  # some callback about it was never answered 200
        for callback in evidence.callbacks:
            message = evidence.messages[callback.word]
            for name in callback.recipients.keys() - {message.sender}:
                self._readers[message.app, name].add(message.word)
                if callback.accepted_ms is None:
                    self._untaken.add((message.word, name))
        self.found = TakenBackFound()

    def judge(self) -> TakenBackFound:
        self._judge_withdrawals()
        if self._phones is not None:
            for word, address in self._phones.shown:
                self._judge_shown(word, address, self._phones.elsewhere)
            for address, badge in self._phones.badges.items():
                self._judge_badge(address, badge)
        return self.found

    def _judge_withdrawals(self) -> None:
        """Nothing goes from a phone without a reason."""
        of_item: dict[tuple[Address, str], str] = {}
        of_notify_id: dict[tuple[Address, str], list[Push]] = defaultdict(list)
        for push in self._evidence.pushes:
            if push.item is not None:
                of_item[push.address, push.item] = push.word
            if push.notify_id is not None:
                of_notify_id[push.address, push.notify_id].append(push)
        self.found.counted["withdrawals pushed"] = len(self._evidence.taken_back)
        for taken in self._evidence.taken_back:
            if taken.notify_id is None:
                word = of_item.get((taken.address, taken.item or ""))
            else:
                before = [it for it in of_notify_id[taken.address, taken.notify_id] if it.came_ms <= taken.came_ms]
                word = before[-1].word if before else None
                if before and self._is_told_since(before[-1], taken):
                    is_read = self._notices.allow(
                        taken._replace(why=READ), before[-1].word, self._evidence.readers[before[-1].word]
                    )
                    if not is_read and self._notices.allow(taken, before[-1].word, set()):
                        self.found.excused["the alert before a fold was recalled"] += 1
                        continue
            if word is None or self._notices.allow(taken, word, self._evidence.readers[word]):
                continue
            if taken.notify_id is not None and self._evidence.excuses.may_be_forgotten(before[-1]):
                self.found.excused["a failover"] += 1  # it goes out again, and the one before it was meant
            elif taken.notify_id is not None and self._notices.may_cover(taken, word):
                self.found.excused["what is recalled may be shown"] += 1
            else:
                times = f"taken back at {taken.came_ms} as {taken.why or 'revoked'}, which nobody asked for"
                self._find("taken back", word, taken.address, times)

    def _is_told_since(self, push: Push, taken: TakenBack) -> bool:
        """A fold has taken the place of that alert."""
        return any(
            told.address == taken.address
            and told.push.notify_id == taken.notify_id
            and push.came_ms < told.push.came_ms <= taken.came_ms
            for told in self._evidence.told
        )

    def _judge_shown(self, word: str, address: Address, elsewhere: frozenset[Address]) -> None:
        """An alert that a phone shows in the end."""
        came_ms = min((push.came_ms for push in self._evidence.at.get((word, address), ())), default=0)
        for account in self._evidence.readers[word]:
            for owner in self._evidence.ownership.owners(self._evidence.messages[word].app, account):
                if address in self._evidence.ownership.addresses(owner):
                    self._judge_shown_to(owner, word, address, came_ms, elsewhere=address in elsewhere)

    def _judge_shown_to(self, owner: Owner, word: str, address: Address, came_ms: int, *, elsewhere: bool) -> None:
        kind, notice = "recalled text", self._notices.surely_recalled(word, owner.account)
        if notice is None:
            kind, notice = "read alert", self._notices.surely_read(word, owner.account, address)
        if notice is None or self._evidence.ownership.hold(owner, came_ms) is Hold.NO:
            return
        if (excuse := self._excuse(owner, word, address, came_ms, elsewhere=elsewhere)) is not None:
            self.found.excused[excuse] += 1
            return
        times = f"pushed at {came_ms}, {notice.why} answered 200 at {notice.accepted_ms}, and still shown"
        self._find(kind, word, address, times)

    def _excuse(self, owner: Owner, word: str, address: Address, came_ms: int, *, elsewhere: bool) -> str | None:
        message = self._evidence.messages[word]
        read_with_another = any(it.word != word for it in self._notices.reads(word, owner.account))
        if read_with_another and not message.has_id:
            return "it has no id of its own"
        if read_with_another and address[0] == "apns" and message.sequence is None:
            return "it has no sequence"
        if address[0] != "apns" and self._evidence.at[word, address][-1].fault in UNHEARD:
            return "its answer was not heard"
        if elsewhere:
            return "the phone changed environments"
        if self._emptied_ms >= self._notices.first_asked_ms(word):
            return "the store came back empty"
        if any(map(self._evidence.excuses.may_be_forgotten, self._evidence.at.get((word, address), ()))):
            return "a failover"
        if self._evidence.ownership.hold(owner, came_ms) is not Hold.SURELY:
            return "the phone changed hands"
        return None

    def _judge_badge(self, address: Address, badge: Badge) -> None:
        """The number is that of the account's unread messages."""
        ownership = self._evidence.ownership
        owners = ownership.possible_owners(address, badge.ms, _FOR_EVER)
        if badge.ms <= self._emptied_ms:
            self.found.excused["the store came back empty"] += 1
            return
        if len(owners) != 1 or ownership.hold(owners[0], badge.ms) is not Hold.SURELY:
            self.found.excused["the phone changed hands"] += 1
            return
        (owner,) = owners
        words = [(word, self._counts(owner, word)) for word in self._readers[owner.app, owner.account]]
        surely = [word for word, counts in words if counts is Counts.SURELY]
        perhaps = [word for word, counts in words if counts is Counts.PERHAPS]
        if len(surely) <= badge.number <= len(surely) + len(perhaps):
            self.found.counted["numbers right"] += 1
            self.found.counted["numbers exactly known"] += not perhaps
        elif any(self._had_online(owner, word, badge.ms) for word in (*surely, *perhaps)):
            self.found.excused["its login had the latest online"] += 1
        elif any(
            abs(came_ms - badge.ms) <= PASSED_MS and len(surely) <= number <= len(surely) + len(perhaps)
            for came_ms, number in self._evidence.accepted.numbers.get(address, ())
        ):
            self.found.excused["two pushes passed each other"] += 1
        elif any(begin <= badge.ms <= end for begin, end in self._evidence.failovers):
            self.found.excused["a failover"] += 1
        else:
            unread = f"{len(surely)}" if not perhaps else f"{len(surely)} to {len(surely) + len(perhaps)}"
            self._find("badge", "-", address, f"{owner} was told {badge.number} at {badge.ms}, unread: {unread}")

    def _counts(self, owner: Owner, word: str) -> "Counts":
        """Whether the account has not read that message."""
        ownership, account = self._evidence.ownership, owner.account
        first_asked_ms = self._notices.first_asked_ms(word)
        if self._emptied_ms >= first_asked_ms:
            return Counts.PERHAPS
        if self._notices.surely_recalled(word, account) or self._notices.surely_read(word, account):
            return Counts.NO
        dues = [due for its in ownership.owners(owner.app, account) if (due := self._due.get((word, its))) is not None]
        if any(due.hold is Hold.SURELY for due in dues):
            return Counts.PERHAPS if self._notices.may_explain(word, account) else Counts.SURELY
        if dues or (word, account) in self._untaken or ownership.registered_since(owner.app, account, first_asked_ms):
            return Counts.PERHAPS
        return Counts.NO

    def _had_online(self, owner: Owner, word: str, told_ms: int) -> bool:
        """After the phone was told there was a message that only others of the account's had missed."""
        latest_ms = max((push.came_ms for push in self._notices.pushes(word, owner.account)), default=-1)
        return (word, owner) not in self._due and latest_ms >= told_ms

    def _find(self, kind: str, word: str, address: Address, times: str) -> None:
        self.found.findings.append(Finding(kind, word, address[1], times))


class Counts(Enum):
    """Whether a message is among those that an account has not read."""

    NO = auto()
    SURELY = auto()
    PERHAPS = auto()
