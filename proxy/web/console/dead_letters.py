"""Dead letters: chosen, grouped by cause, tried, put back to work or dropped.

A run over many is a form that sends itself again: each answer holds what was done so far, and the form for the next
step. So no thread of the web is held, nothing has to be cleaned up, and a run ends where its page is closed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice

from flask import Response

from proxy.domain.dead_letters import Cause, DeadLetter, DeadLetterFilter
from proxy.domain.jobs import Job
from proxy.domain.times import from_ms, to_ms
from proxy.errors import BadRequest
from proxy.store.queue.dead_letters import RedisDeadLetters
from proxy.usecases.dead_letter_runs import Deed, Step, take_step
from proxy.usecases.replay_dead_letter import ReplayRules
from proxy.web import current_request, current_services
from proxy.web.console.blueprint import bp
from proxy.web.console.moments import moment
from proxy.web.console.pages import page
from proxy.web.console.rules import audit_change, changes, private
from proxy.web.console.visitors import console_services

_SHOWN, _GROUPED, _GROUPS = 50, 2_000, 50  # letters in the list, letters that groups are made of, groups
_LOOKED_AT = 20_000  # letters for a page, for about a second: few of them may be chosen
_MOST = {Deed.TRY: 200, Deed.REPLAY: 100, Deed.DROP: 200}  # of a step
_PAGE = 25  # of a shard: a step of a run reads that of each
_LIFE = timedelta(hours=1)  # a job that is put back is worth showing for so long, at least: the command's default
_CHOICE = ("app", "channel", "cause", "newer", "older", "wordless")
_REASONS = 10  # that a run tells apart


@dataclass(frozen=True)
class Group:
    """Letters of one cause, reason and lane. `lane` "": callbacks."""

    cause: Cause
    reason: str
    app: str
    channel: str
    count: int
    newest: datetime


@dataclass(frozen=True)
class Run:
    """How far a run has come. `until` is its beginning: what died later is none of it."""

    deed: Deed
    until: datetime
    total: int
    done: int
    gone: int
    refused: Counter[str]
    next_from: datetime | None

    @property
    def looked_at(self) -> int:
        return self.done + self.gone + self.refused.total()

    def after(self, step: Step) -> "Run":
        refused = Counter(dict((self.refused + step.refused).most_common(_REASONS)))
        done, gone = self.done + step.done, self.gone + step.gone
        return Run(self.deed, self.until, self.total, done, gone, refused, step.next_from)


@bp.get("/dead-letters")
@private
def dead_letters() -> Response:
    asked = current_request().args
    choice, letters = _choice(asked), _letters()
    every = _newest_first(letters, replace(choice, app=None, channel=None, cause=None))
    newest = list(islice(filter(choice.takes, islice(every, _LOOKED_AT)), _GROUPED))
    return page(
        "dead_letters",
        chosen=_chosen(asked),
        apps=list(current_services().settings.apps),
        channels=sorted({it.channel for it in console_services().lanes}),
        causes=list(Cause),
        groups=_groups(newest),
        shown=newest[:_SHOWN],
        looked_at=len(newest),
        is_all=len(newest) < _GROUPED and next(every, None) is None,
        most=_LOOKED_AT,
        job_of=lambda letter: letter.subject if isinstance(letter.subject, Job) else None,
    )


@bp.get("/dead-letters/try")
@private
def try_dead_letters() -> Response:
    """A step of a dry run."""
    return _step(Deed.TRY, current_request().args)


@bp.post("/dead-letters/replay")
@changes
def replay_dead_letters() -> Response:
    return _step(Deed.REPLAY, current_request().form)


@bp.post("/dead-letters/drop")
@changes
def drop_dead_letters() -> Response:
    return _step(Deed.DROP, current_request().form)


def _step(deed: Deed, asked: Mapping[str, str]) -> Response:
    services, choice, letters = current_services(), _choice(asked), _letters()
    now = services.store_now()
    run = _run(deed, asked, letters, choice, now)
    rest = DeadLetterFilter(
        app_id=choice.app_id, before=min(choice.before or run.until, run.until), after=run.next_from or choice.after
    )
    its = services.settings.relay
    rules = ReplayRules(console_services().lanes, its.alert_ttl, its.dedupe_ttl, _LIFE, bool(asked.get("wordless")))
    step = take_step(deed, _oldest_first(letters, rest), _MOST[deed], letters, rules, now, choice.takes)
    if deed is not Deed.TRY:
        audit_change(
            f"dead letters: {deed}", done=step.done, refused=step.refused.total(), gone=step.gone, cause=choice.cause,
            app=choice.app, channel=choice.channel,
        )  # fmt: skip
    return page("dead_letters_run", run=run.after(step), chosen=_chosen(asked), deeds=Deed, to_ms=to_ms)


def _run(
    deed: Deed, asked: Mapping[str, str], letters: RedisDeadLetters, choice: DeadLetterFilter, now: datetime
) -> Run:
    """As the form has it; its first step has next to nothing."""
    until = _moment_ms(asked, "until") or now + timedelta(milliseconds=1)
    total = _number(asked, "total")
    if not total:
        total = sum(map(letters.count, _app_ids(choice)))
    return Run(
        deed, until, total, _number(asked, "done"), _number(asked, "gone"), _refused(asked), _moment_ms(asked, "from")
    )


def _refused(asked: Mapping[str, str]) -> Counter[str]:
    found = Counter[str]()
    for line in asked.get("refused", "").splitlines()[:_REASONS]:
        count, _, reason = line.partition(" ")
        found[reason] += int(count) if count.isdecimal() and len(count) < 10 else 0
    return found


def _groups(letters: list[DeadLetter]) -> list[Group]:
    counts, newest = Counter[tuple[Cause, str, str, str]](), dict[tuple[Cause, str, str, str], datetime]()
    for letter in letters:
        key = (letter.cause, letter.reason, letter.app, letter.channel)
        counts[key] += 1
        newest.setdefault(key, letter.at)
    return [Group(*key, count, newest[key]) for key, count in counts.most_common(_GROUPS)]


def _letters() -> RedisDeadLetters:
    store = current_services().settings.store
    caps = {"jobs_cap": store.jobs_cap, "callbacks_cap": store.callbacks_cap}
    return RedisDeadLetters(console_services().store, **caps, page=_PAGE)


def _app_ids(choice: DeadLetterFilter) -> list[str]:
    every = {section.app_id for section in current_services().settings.apps.values()}
    return sorted(every & {choice.app_id} if choice.app_id else every)


def _newest_first(letters: RedisDeadLetters, choice: DeadLetterFilter) -> Iterator[DeadLetter]:
    of_each = [letters.newest_first(app_id, choice) for app_id in _app_ids(choice)]
    return merge(*of_each, key=lambda letter: letter.at, reverse=True)


def _oldest_first(letters: RedisDeadLetters, choice: DeadLetterFilter) -> Iterator[DeadLetter]:
    return merge(*(letters.oldest_first(app_id, choice) for app_id in _app_ids(choice)), key=lambda letter: letter.at)


def _chosen(asked: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name in _CHOICE if (value := asked.get(name, ""))}


def _choice(asked: Mapping[str, str]) -> DeadLetterFilter:
    """Raises BadRequest."""
    apps = current_services().settings.apps
    app, channel, cause = (asked.get(name) or None for name in ("app", "channel", "cause"))
    if app is not None and app not in apps:
        raise BadRequest("app", expected="a section of the settings", got=app)
    if channel is not None and channel not in {it.channel for it in console_services().lanes}:
        raise BadRequest("channel", expected="a channel of the settings", got=channel)
    if cause is not None and cause not in set(Cause):
        raise BadRequest("cause", expected="a cause of dead letters", got=cause)
    return DeadLetterFilter(
        app_id=apps[app].app_id if app else None, app=app, channel=channel, cause=Cause(cause) if cause else None,
        before=moment(asked, "older"), after=moment(asked, "newer"),
    )  # fmt: skip


def _moment_ms(asked: Mapping[str, str], name: str) -> datetime | None:
    number = _number(asked, name)
    return from_ms(number) if number else None


def _number(asked: Mapping[str, str], name: str) -> int:
    text = asked.get(name) or "0"
    if not text.isascii() or not text.isdecimal() or len(text) > 13:
        raise BadRequest(name, expected="a whole number", got=text)
    return int(text)
