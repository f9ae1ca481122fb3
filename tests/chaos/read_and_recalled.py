"""Which messages were read or recalled, as far as it can be known from outside.

A RECALL counts where its sender wrote the message; it is about the accounts that it names. A READ is about its own
sender's phones: the message that it names, and those of the conversation that were accepted before it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.chaos.evidence import Evidence
from tests.chaos.faults import STORE, WORKER
from tests.chaos.pushes import Address, Push, TakenBack
from tests.chaos.sent_messages import Notice

READ, RECALL = "read", "recall"


class Notices:
    """Who has read or recalled what, surely or perhaps."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._recalls: dict[str, list[Notice]] = defaultdict(list)
        self._reads: dict[tuple[str, str, str], list[Notice]] = defaultdict(list)
        self._asked: dict[str, tuple[int, int]] = {}
        self._callbacks = Counter[tuple[str, str]]()
        self._first_push_ms: dict[str, int] = {}
        for push in evidence.pushes:
            self._first_push_ms[push.word] = min(push.came_ms, self._first_push_ms.get(push.word, push.came_ms))
        for callback in evidence.callbacks:
            first, last = self._asked.get(callback.word, (callback.first_asked_ms, 0))
            self._asked[callback.word] = min(first, callback.first_asked_ms), max(last, callback.stored_by_ms)
            self._callbacks.update((callback.word, account) for account in callback.recipients)
        for notice in evidence.notices:
            message = evidence.messages[notice.word]
            if notice.why == READ:
                self._reads[message.app, notice.by, message.conversation].append(notice)
            elif notice.by == message.sender:
                self._recalls[notice.word].append(notice)

    def recalls(self, word: str, account: str) -> Iterator[Notice]:
        """By the message's own writer."""
        return (it for it in self._recalls[word] if account in it.recipients)

    def reads(self, word: str, account: str) -> Iterator[Notice]:
        """Those that may be about this message."""
        message = self._evidence.messages[word]
        for notice in self._reads[message.app, account, message.conversation]:
            if notice.word == word or not self._surely_before(notice.word, word):
                yield notice

    def may_explain(self, word: str, account: str) -> bool:
        """Whether no alert of it for that account need have come."""
        return any(self.recalls(word, account)) or any(self.reads(word, account))

    def may_be_over(self, word: str, account: str) -> bool:
        """Whether it need not count any more: the same, or a later one of the conversation was read."""
        message = self._evidence.messages[word]
        reads = self._reads[message.app, account, message.conversation]
        return self.may_explain(word, account) or any(
            self._evidence.messages[notice.word].is_later_than(message) for notice in reads
        )

    def surely_recalled(self, word: str, account: str) -> Notice | None:
        return next((it for it in self.recalls(word, account) if it.accepted_ms is not None), None)

    def surely_read(self, word: str, account: str, address: Address | None = None) -> Notice | None:
        """At that address, or for the account's number: it and what the READ names were planned when that was posted,
        as a push of each shows.
        """
        for notice in self.reads(word, account):
            if notice.accepted_ms is None or (notice.word != word and not self._surely_before(word, notice.word)):
                continue
            if self._first_push_ms.get(notice.word, notice.first_asked_ms) >= notice.first_asked_ms:
                continue
            one_callback = self._callbacks[word, account] == 1
            if any(
                push.came_ms < notice.first_asked_ms
                for push in self.pushes(word, account)
                if address is None or one_callback or push.address == address
            ):
                return notice
        return None

    def allow(self, taken: TakenBack, word: str, accounts: set[str]) -> bool:
        """Whether a withdrawal of this message, or of what shows it, follows from any of them."""
        if taken.why != READ and any(it.first_asked_ms <= taken.came_ms for it in self._recalls[word]):
            return True
        if taken.why == RECALL:
            return False
        return any(it.first_asked_ms <= taken.came_ms for name in accounts for it in self.reads(word, name))

    def may_cover(self, taken: TakenBack, word: str) -> bool:
        """Whether a later message of the conversation was recalled that may be shown in its place: a push of it was not
        answered, or the service lost the answer with a process.
        """
        message, evidence = self._evidence.messages[word], self._evidence
        losses = [fault.begin_ms for fault in evidence.faults if fault.kind in WORKER | STORE]
        return any(
            answered_ms is None or any(answered_ms <= begin_ms <= taken.came_ms for begin_ms in losses)
            for other, recalls in self._recalls.items()
            if evidence.messages[other].conversation == message.conversation
            and any(it.first_asked_ms <= taken.came_ms for it in recalls)
            for answered_ms in evidence.accepted.failed.get((other, taken.address), ())
        )

    def pushes(self, word: str, account: str) -> Iterator[Push]:
        evidence = self._evidence
        for owner in evidence.ownership.owners(evidence.messages[word].app, account):
            for address in evidence.ownership.addresses(owner):
                yield from evidence.at.get((word, address), ())

    def first_asked_ms(self, word: str) -> int:
        return self._asked[word][0] if word in self._asked else 0

    def _surely_before(self, word: str, other: str) -> bool:
        """It was accepted before the other was posted for the first time."""
        return self._asked[word][1] < self._asked[other][0] if word in self._asked and other in self._asked else False
