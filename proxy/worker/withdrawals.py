"""READ and RECALL at work: which alerts they take back, at whose devices.

    notices -> the messages that they name -> devices of those who are concerned -> withdraw.lua and the acknowledgement

A RECALL is about the recipients of a message, and only its writer's counts; a READ about its own sender's devices.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from proxy.domain.alerts import Alert, AlertText, Update
from proxy.domain.callbacks import Recipient
from proxy.domain.devices import BADGED_ALONE, AccountsRead
from proxy.domain.history import Reason
from proxy.domain.kinds import Kind
from proxy.domain.lanes import Lane, Route
from proxy.domain.messages import Content
from proxy.domain.offline_messages import OfflineMessage
from proxy.domain.preferences import Treatment
from proxy.domain.settlements import Entry, PlanEnd
from proxy.domain.times import to_ms
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.history_records import NotesOfMessage
from proxy.store.queue.entries import lane_name
from proxy.store.queue.streams import RedisQueue
from proxy.store.queue.withdrawals import RedisWithdrawals, Said
from proxy.store.scripts import Command
from proxy.store.users.unread import uncounting
from proxy.usecases.note_plan import note_of_reader
from proxy.usecases.plan_alerts import Planned, jobs_for, readers_of
from proxy.worker.portions import portions

_WORDLESS = AlertText("", "", Kind.NEW)
_ACCOUNTS_AT_ONCE = 50  # the store is busy for half a millisecond with them


@dataclass(frozen=True)
class Notice:
    """A callback that takes alerts back: its message, and what that says."""

    entry: Entry
    message: OfflineMessage
    content: Content

    @property
    def why(self) -> Update:
        return Update.RECALL if self.content.kind == Kind.RECALL else Update.READ

    @property
    def readers(self) -> list[Recipient]:
        """Those whose devices are concerned."""
        return readers_of(self.message) if self.why is Update.RECALL else [Recipient(self.message.sender)]


class PlanWithdrawals:
    """Takes back the alerts of one app's messages. `routes` are the app's lanes, of all its sections.

    `withdraws` False: alerts stay. `counts`: what is read or recalled is no longer among the unread messages.
    """

    def __init__(
        self,
        app_id: str,
        kept: RedisWithdrawals,
        addresses: RedisAddresses,
        queue: RedisQueue,
        routes: Sequence[Route],
        *,
        alert_ttl: timedelta,
        now: Callable[[], datetime],
        withdraws: bool = True,
        counts: bool = False,
    ) -> None:
        self._app_id, self._kept, self._addresses, self._queue = app_id, kept, addresses, queue
        self._routes, self._alert_ttl, self._now = routes, alert_ttl, now
        self._withdraws, self._counts = withdraws, counts

    def saying(self, message: OfflineMessage, msg_id: str) -> Command:
        """See RedisWithdrawals.saying."""
        return self._kept.saying(message, msg_id)

    async def withdraw(self, notices: Sequence[Notice]) -> list[tuple[Notice, int, PlanEnd]]:
        """Carry them out; returns at how many targets each was about, and the end of its callback. Raises RedisError.

        A notice whose lane is full waits for that lane, as a message does.
        """
        found = await self._kept.find([(it.message, it.why, it.content.about) for it in notices])
        targets, full = Counter[bytes](), dict[bytes, frozenset[Lane]]()
        for together in portions(
            _pages(zip(notices, found, strict=True)), lambda it: len(it.accounts), _ACCOUNTS_AT_ONCE
        ):
            await self._withdraw(together, targets, full)
        return [
            (it, targets[it.entry.id], self._end_of(it, full.get(it.entry.id, frozenset()), is_known=bool(some)))
            for it, some in zip(notices, found, strict=True)
        ]

    async def _withdraw(
        self, pages: Sequence["_Page"], targets: Counter[bytes], full: dict[bytes, frozenset[Lane]]
    ) -> None:
        """Two round trips: devices, and what is done. Adds to `targets` and `full`, by entry."""
        apps = dict.fromkeys(route.lane.app for route in self._routes if not route.to_account)
        names = dict.fromkeys(name for page in pages for name in page.accounts)
        read = await self._addresses.read_accounts(self._app_id, list(apps), list(names))
        jobs = [self._jobs(page, read) for page in pages]
        asked = [(page.messages, some if self._withdraws else []) for page, some in zip(pages, jobs, strict=True)]
        uncounts = [it for page, some in zip(pages, jobs, strict=True) for it in self._uncounts(page, some)]
        lanes = await self._kept.withdraw(self._app_id, asked, uncounts)
        for page, some, those in zip(pages, jobs, lanes, strict=True):
            targets[page.notice.entry.id] += len(some)
            full[page.notice.entry.id] = full.get(page.notice.entry.id, frozenset()) | those

    def _uncounts(self, page: "_Page", jobs: Sequence[Planned]) -> list[Command]:
        """The messages are not unread any more; the iPhones of each account are told the number that is left."""
        if not self._counts:
            return []
        now, by_account = self._now(), dict[str, list[Planned]]()
        for lane, job in jobs:
            if job.platform in BADGED_ALONE:
                number = replace(job.alert, text=_WORDLESS, update=Update.BADGE)
                by_account.setdefault(job.account, []).append((lane, replace(job, alert=number)))
        notice, about = page.notice, page.messages[0]
        conversation, is_recall = self._alert(notice, about).conversation, notice.why is Update.RECALL
        return [
            uncounting(
                self._kept.layout, self._app_id, name, conversation, now, by_account.get(name, []),
                message_ids=[it.message_id for it in page.messages],
                up_to_ms=0 if is_recall else about.before_ms,
            )
            for name in page.accounts
        ]  # fmt: skip

    def _jobs(self, page: "_Page", read: AccountsRead) -> list[Planned]:
        lanes, alert = page.notice.entry.lanes, self._alert(page.notice, page.messages[0])
        if alert.expires_at <= self._now():
            return []
        routes = [route for route in self._routes if not lanes or lane_name(route.lane) in lanes]
        previews = {name: Treatment(preview=it.preview) for name, it in read.preferences.items()}
        # whichever login missed it, and whoever is muted now
        everywhere = [Recipient(name) for name in page.accounts]
        return jobs_for(routes, alert, everywhere, read.devices, read.blocked, previews)

    def _end_of(self, notice: Notice, full: frozenset[Lane], *, is_known: bool) -> PlanEnd:
        """A recall in vain is noted; most READs name what made no alert, for their readers were online."""
        message, notes = notice.message, NotesOfMessage(to_ms(self._now()), self._kept.layout.shard_of_account)
        if notice.why is Update.RECALL and not is_known:
            notes.add(note_of_reader(message, Reason.NAMES_NONE, reader.account) for reader in notice.readers)
        return PlanEnd(notice.entry.id, full, notice.entry.tries, notes.records())

    def _alert(self, notice: Notice, about: Said) -> Alert:
        message, why = notice.message, notice.why
        text = AlertText("", "", Kind.READ)
        if why is Update.RECALL:
            text = notice.content.alert_text(message.sender)
        elif not message.conversation.startswith("topic:"):  # the reader's own side of the talk
            message = replace(message, conversation=_other_side(message))
        alert = message.alert(text, self._alert_ttl)
        return replace(alert, message_id=about.message_id, order=about.order, silent=True, update=why)


@dataclass(frozen=True)
class _Page:
    """What is withdrawn in one step: messages, of which a notice names the first, for some of those concerned."""

    notice: Notice
    messages: Sequence[Said]
    accounts: Sequence[str]


def _pages(found: Iterable[tuple[Notice, Sequence[Said]]]) -> Iterator[_Page]:
    """None of a notice that names no message that is known."""
    for notice, messages in found:
        names = list(dict.fromkeys(reader.account for reader in notice.readers)) if messages else []
        for start in range(0, len(names), _ACCOUNTS_AT_ONCE):
            yield _Page(notice, messages, names[start : start + _ACCOUNTS_AT_ONCE])


def _other_side(message: OfflineMessage) -> str:
    return f"p2p:{message.recipients[0].account}" if message.recipients else message.conversation
