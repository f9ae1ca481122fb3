"""Put a dead letter back to work, or say why it cannot be."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from proxy.domain.alerts import AlertText
from proxy.domain.dead_letters import DeadLetter, PutBack, Unread, revived
from proxy.domain.forwards import Forward
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane
from proxy.domain.messages import wordless_text
from proxy.domain.offline_messages import OfflineMessage
from proxy.domain.settlements import Entry
from proxy.ports import DeadLetters


@dataclass(frozen=True)
class Replay:
    """What goes back to which lane, None: to the callbacks. `expires_at`: the end of its alert, or of its tries."""

    of: Job | OfflineMessage | Forward | Entry
    lane: Lane | None
    expires_at: datetime | None


@dataclass(frozen=True)
class NotReplayable:
    """The letter stays as it is."""

    reason: str


@dataclass(frozen=True)
class ReplayRules:
    """What a replay goes by. `lanes` are those of the settings.

    `alert_ttl` and `dedupe_ttl` are the relay's: a callback is planned again only while the marks are sure to know
    which of its jobs were planned before.
    """

    lanes: Collection[Lane]
    alert_ttl: timedelta
    dedupe_ttl: timedelta
    life: timedelta
    without_words: bool = False


def prepare(letter: DeadLetter, letters: DeadLetters, rules: ReplayRules, now: datetime) -> Replay | NotReplayable:
    """What a replay would put back; nothing is changed."""
    match letter.subject:
        case Job():
            return _job(letter, letter.subject, letters, rules, now)
        case OfflineMessage():
            return _callback(letter, letter.subject, letters, rules, now)
        case Forward():
            return _forward(letter, letter.subject, letters, rules, now)
        case Unread():
            return _record(letter, letter.subject, letters, rules)
        case None:
            return NotReplayable("an earlier version kept nothing of it but the reason")
        case _:
            assert_never(letter.subject)


def replay_dead_letter(
    letter: DeadLetter, letters: DeadLetters, rules: ReplayRules, now: datetime
) -> Replay | NotReplayable | None:
    """Put it back in one step. None: it is gone, another command put it back or dropped it."""
    replay = prepare(letter, letters, rules, now)
    if isinstance(replay, NotReplayable):  # with the letter its words go too: then they are no reason
        return replay if letters.has(letter) else None
    match letters.put_back(letter, replay.of, replay.lane):
        case PutBack.DONE:
            return replay
        case PutBack.GONE:
            return None
        case PutBack.FULL:
            return NotReplayable("the lane is full" if replay.lane else "the stream of callbacks is full")


def _job(
    letter: DeadLetter, kept: Job, letters: DeadLetters, rules: ReplayRules, now: datetime
) -> Replay | NotReplayable:
    lane = Lane(letter.app_id, kept.app, kept.channel)
    if lane not in rules.lanes:
        return NotReplayable(f"the settings have no lane {kept.app}/{kept.channel}")
    whole = letters.whole(letter)
    if not isinstance(whole, Job):
        if not rules.without_words:
            return NotReplayable("its words are gone; without them it would say no more than that there is a message")
        whole = replace(kept, alert=replace(kept.alert, text=wordless_text(kept.alert.conversation)))
    job = revived(whole, letter, now, rules.life)
    return Replay(job, lane, job.alert.expires_at)


def _callback(
    letter: DeadLetter, kept: OfflineMessage, letters: DeadLetters, rules: ReplayRules, now: datetime
) -> Replay | NotReplayable:
    expires_at = kept.alert(AlertText("", ""), rules.alert_ttl).expires_at
    if min(expires_at, kept.accepted_at + rules.dedupe_ttl) <= now:
        return NotReplayable("too late: its alerts have expired")
    whole = letters.whole(letter)
    if not isinstance(whole, OfflineMessage):
        return NotReplayable("its words are gone; without them it is unknown whether it is to be alerted")
    return Replay(whole, None, expires_at)


def _forward(
    letter: DeadLetter, kept: Forward, letters: DeadLetters, rules: ReplayRules, now: datetime
) -> Replay | NotReplayable:
    lane = Lane(letter.app_id, kept.app, kept.channel)
    if lane not in rules.lanes:
        return NotReplayable(f"the settings have no {kept.channel} of {kept.app}")
    whole = letters.whole(letter)
    if not isinstance(whole, Forward):
        return NotReplayable("its body is gone")
    forward = whole.revived(now, rules.life)
    return Replay(forward, lane, forward.until)


def _record(letter: DeadLetter, kept: Unread, letters: DeadLetters, rules: ReplayRules) -> Replay | NotReplayable:
    lane = Lane(letter.app_id, kept.app, kept.channel) if kept.app else None
    if lane is not None and lane not in rules.lanes:
        return NotReplayable(f"the settings have no lane {kept.app}/{kept.channel}")
    whole = letters.whole(letter)
    return Replay(whole, lane, None) if isinstance(whole, Entry) else NotReplayable("its bytes are gone")


@dataclass
class Throttle:
    """Lets through `per_second`, evenly: `wait` returns when it is the next one's turn."""

    per_second: float
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    _next: float | None = None

    def wait(self) -> None:
        now = self.clock()
        turn = now if self._next is None else max(now, self._next)
        if turn > now:
            self.sleep(turn - now)
        self._next = turn + 1 / self.per_second
