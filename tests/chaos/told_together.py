"""Messages that are told together: each is shown by an alert of its own or counted in a fold, once.

With alerts.fold_s. The first alert of a conversation on a phone goes at once; what follows in its window is counted,
and a fold tells when it ends how many there are ("3 new messages"), each time all since that first alert. Folds of
APNs that belong together have one collapse id; MiPush's take the first alert's place, and count it too.

    lost            the folds of a conversation tell of fewer messages than surely had no alert of their own
    counted twice   of more than there could have been when the fold came, less what had been recalled by then
    order           a fold takes the place of one whose latest message is later
    too early       a fold within the window of the one before, or an alert of its own within the window of an alert
                    or a fold, and no fault explains a repeat

That is counted where a phone was one account's for the whole run. Else a message need only be followed by a fold.
Nobody can see from outside when a message was read, so one that may have been need not be told. An alert that
waits for a fault may be covered at MiPush by a later fold that does not count it, as by a later alert.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.chaos.arrivals import Due
from tests.chaos.evidence import Evidence
from tests.chaos.faults import Times
from tests.chaos.observed_alerts import MOVED_MS
from tests.chaos.ownership import Hold, Owner
from tests.chaos.pushes import PROVIDERS, Address, Push, Told
from tests.chaos.read_and_recalled import Notices
from tests.chaos.sent_messages import Message
from tests.chaos.standstill import explained_spans
from tests.chaos.verdict import Finding

_CLOCKS_MS = 200  # between an emulator's and the service's, which a worker with a tenth of a core measures so exactly
_CARRIED_OUT_MS = 1_000  # a recall, where no fault is on
_PASSED_MS = 100


@dataclass
class ToldTogetherFound:
    """`counted`: folds pushed, conversations counted, and repeats and conversations that could not be judged."""

    findings: list[Finding] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)


class Conversation(NamedTuple):
    """All that one phone was to be told of one: `asked_ms` are by word, `own` the first pushes of a word, in order."""

    owner: Owner
    address: Address
    asked_ms: Mapping[str, int]
    own: Sequence[Push]
    told: Sequence[Told]

    @property
    def replaces(self) -> bool:
        return self.address[0] != "apns"

    @property
    def unpushed(self) -> list[str]:
        own = {push.word for push in self.own}
        return [word for word in self.asked_ms if word not in own]


class ToldTogetherJudge:
    """`due` are all alerts of the run."""

    def __init__(
        self, evidence: Evidence, notices: Notices, due: Mapping[tuple[str, Owner], Due], times: Times
    ) -> None:
        self._evidence, self._notices, self._due = evidence, notices, due
        self._window_ms = round(times.fold_s * 1000)
        self._explained = {provider: explained_spans(evidence.faults, provider, times) for provider in PROVIDERS}
        self._told: dict[tuple[Address, str], list[Told]] = defaultdict(list)
        for told in sorted(evidence.told, key=lambda it: it.push.came_ms):
            self._told[told.address, told.peer].append(told)
        # when a message was said first to have missed an account, by word
        self._asked: dict[tuple[str, str, str], dict[str, int]] = defaultdict(dict)
        for callback in evidence.callbacks:
            message = evidence.messages[callback.word]
            for name in callback.recipients.keys() - {message.sender}:
                asked = self._asked[message.app, name, peer_of(message)]
                asked[message.word] = min(callback.first_asked_ms, asked.get(message.word, callback.first_asked_ms))
        self.found = ToldTogetherFound()

    def may_tell(self, word: str, owner: Owner) -> bool:
        """Whether a fold came after the message to that device."""
        peer = peer_of(message := self._evidence.messages[word])
        asked_ms = self._asked[message.app, owner.account, peer][word]
        return any(
            told.push.came_ms >= asked_ms
            for address in self._evidence.ownership.addresses(owner)
            for told in self._told.get((address, peer), ())
        )

    def judge(self) -> ToldTogetherFound:
        if self._evidence.told:
            self.found.counted["folds pushed"] = len(self._evidence.told)
        for told in self._evidence.told:
            self._judge_reader(told)
        if self._window_ms:
            for conversation in self._conversations():
                self._judge_windows(conversation)
                if conversation.told:
                    self.found.counted["conversations counted"] += 1
                    self._judge_order(conversation)
                    self._judge_twice(conversation)
                    self._judge_lost(conversation)
        return self.found

    def _conversations(self) -> Iterator[Conversation]:
        """Where nothing happened that makes it uncertain what the phone was to be told."""
        emptied_ms = max((end for _, end in self._evidence.emptied), default=-1)
        for (app, account, peer), asked_ms in self._asked.items():
            for owner in self._evidence.ownership.owners(app, account):
                address = self._evidence.ownership.undisturbed(owner)
                if address is None or min(asked_ms.values()) <= emptied_ms:
                    told = any((it, peer) in self._told for it in self._evidence.ownership.addresses(owner))
                    self.found.counted["conversations not counted, for what happened to the phone"] += told
                    continue
                pushes = (self._evidence.at.get((word, address), ()) for word in asked_ms)
                own = sorted((min(its, key=_came) for its in pushes if its), key=_came)
                yield Conversation(owner, address, asked_ms, own, self._told.get((address, peer), ()))

    def _judge_reader(self, told: Told) -> None:
        ownership, push = self._evidence.ownership, told.push
        apps = {message.app for message in self._evidence.messages.values()}
        if told.address[0] == "account":
            accounts = {told.address[1]}
        else:
            owners = ownership.possible_owners(told.address, push.came_ms - MOVED_MS, push.ms)
            accounts = {owner.account for owner in owners}
        if not any((app, name, told.peer) in self._asked for app in apps for name in accounts):
            self._find("wrong phone", "-", told.address, f"told of {told.peer} at {push.came_ms}, is no reader")

    def _judge_windows(self, its: Conversation) -> None:
        for first, second in itertools.pairwise(it.push for it in its.told):
            if second.came_ms < first.ms + self._window_ms - _CLOCKS_MS:
                self._judge_early(its, first, second)
        for first, second in itertools.pairwise(its.own):
            # it was planned after the first one, which opened a window no earlier than that was said
            after_first = its.asked_ms[second.word] > first.ms
            if after_first and second.came_ms < its.asked_ms[first.word] + self._window_ms - _CLOCKS_MS:
                self._judge_early(its, first, second)
        for own in its.own:
            before = [it.push for it in its.told if it.push.ms < its.asked_ms[own.word]]
            if before and own.came_ms < before[-1].ms + self._window_ms - _CLOCKS_MS:
                self._judge_early(its, before[-1], own)

    def _judge_early(self, its: Conversation, first: Push, second: Push) -> None:
        excuse = self._evidence.excuses.of(first, second)
        if excuse:
            self.found.counted[f"told again soon, excused by {excuse}"] += 1
        else:
            times = f"pushed at {second.came_ms}, {first.word or 'a fold'} at {first.ms}"
            self._find("too early", second.word or "-", its.address, times)

    def _judge_order(self, its: Conversation) -> None:
        for those in [its.told] if its.replaces else _series(its):
            for first, second in itertools.pairwise(those):
                if first.sequence is None or second.sequence is None or first.sequence <= second.sequence:
                    continue
                if not self._passed(first, second):
                    times = (
                        f"a fold up to {second.sequence} at {second.push.ms}, up to {first.sequence} at {first.push.ms}"
                    )
                    self._find("order", "-", its.address, times)

    def _judge_twice(self, its: Conversation) -> None:
        """What the folds tell up to each of them is at most what there was."""
        series = _series(its)
        for place, told in enumerate(its.told):
            at = told.push.came_ms
            sums = [[it for it in those if it.push.came_ms <= at] for those in series]
            first_too = 1 if its.replaces else 0
            tells = sum(those[-1].number - first_too for those in sums if those)
            before_ms = its.told[place - 1].push.came_ms if place else -1
            most = sum(
                asked_ms <= at and not (asked_ms > before_ms and self._is_recalled(its, word, at))
                for word in its.unpushed
                for asked_ms in (its.asked_ms[word],)
            )
            if tells > most or told.number < 1:
                times = f"told of {told.number} at {at}, in all of {tells}; there were {most}"
                self._find("counted twice", "-", its.address, times)

    def _is_recalled(self, its: Conversation, word: str, at_ms: int) -> bool:
        """Surely, and long enough before."""
        notice = self._notices.surely_recalled(word, its.owner.account)
        if notice is None or notice.accepted_ms is None or notice.accepted_ms + _CARRIED_OUT_MS > at_ms:
            return False
        asked_ms = min(notice.first_asked_ms, its.asked_ms[word])
        return self._is_calm(its.told[0].push.provider, asked_ms, at_ms)

    def _judge_lost(self, its: Conversation) -> None:
        """What the folds tell in the end is at least what had no alert, and at MiPush what they take the place of."""
        unread = [word for word in its.unpushed if self._surely_unread(word, its)]
        told, place_taken = its.told, 0
        if its.replaces and its.own:
            messages, last = self._evidence.messages, max(its.own, key=_came)
            unread = [
                word for word in unread if not any(_covers(messages[own.word], messages[word]) for own in its.own)
            ]
            told = [it for it in told if it.push.came_ms > last.came_ms]
            window_ends_ms = its.asked_ms[last.word] + self._window_ms  # or later
            place_taken = bool(
                told
                and told[0].push.came_ms < window_ends_ms + self._window_ms - _CLOCKS_MS
                and self._surely_unread(last.word, its)
            )
        tells = sum(self._tells_last(those) for those in self._likely_series(its, told))
        if not unread or tells >= len(unread) + place_taken:
            return
        waited_ms = min(its.asked_ms[word] for word in unread)
        if its.replaces and not self._is_calm(its.told[0].push.provider, waited_ms, its.told[-1].push.came_ms):
            self.found.counted["folds that may have covered what waited"] += 1
        else:
            last_ms, there_were = its.told[-1].push.came_ms, len(unread) + place_taken
            times = f"told of {tells} in all, the last time at {last_ms}; there were {there_were}"
            self._find("lost", unread[-1], its.address, times)

    def _surely_unread(self, word: str, its: Conversation) -> bool:
        due = self._due.get((word, its.owner))
        return due is not None and due.hold is Hold.SURELY and not self._notices.may_be_over(word, its.owner.account)

    def _tells_last(self, series: Sequence[Told]) -> int:
        """A worker that was held up may have come last with what it had read before."""
        *earlier, last = series
        return max(last.number, *(told.number for told in earlier if self._passed(told, last)), 0)

    def _passed(self, first: Told, last: Told) -> bool:
        is_close = last.push.came_ms - first.push.ms <= _PASSED_MS
        return is_close or self._evidence.excuses.of(first.push, last.push) is not None

    def _likely_series(self, its: Conversation, told: Sequence[Told]) -> list[list[Told]]:
        """Rather too many of MiPush's: where the alert at the beginning of the next was covered, only time tells."""
        if not its.replaces:
            return _series(its)
        found: list[list[Told]] = []
        for place, it in enumerate(told):
            gap_ms = it.push.came_ms - told[place - 1].push.ms
            if place == 0 or gap_ms >= 2 * self._window_ms - _CLOCKS_MS:
                found.append([])
            found[-1].append(it)
        return found

    def _is_calm(self, provider: str, begin_ms: int, end_ms: int) -> bool:
        return all(end < begin_ms or begin > end_ms for begin, end in self._explained[provider])

    def _find(self, kind: str, word: str, address: Address, times: str) -> None:
        self.found.findings.append(Finding(kind, word, address[1], times))


def peer_of(message: Message) -> str:
    """The conversation as its reader's app knows it."""
    return message.conversation.partition(">")[0]


def _series(its: Conversation) -> list[list[Told]]:
    """The folds that go on from each other.

    MiPush's are known by the alert that is pushed before them, unless that was covered: then two are taken for one.
    """
    found: dict[str, list[Told]] = {}
    before: Told | None = None
    begins = 0
    for told in its.told:
        if its.replaces and before is not None:
            since, until = before.push.came_ms, told.push.came_ms
            begins += any(since < it.came_ms <= until and its.asked_ms[it.word] > since for it in its.own)
        found.setdefault(f"{begins}" if its.replaces else f"{told.push.item}", []).append(told)
        before = told
    return list(found.values())


def _covers(own: Message, message: Message) -> bool:
    return not message.is_later_than(own)


def _came(push: Push) -> int:
    return push.came_ms
