"""`app-proxy dead-letters`: look at what ended without an alert, put it back to work, or drop it."""

import time
from collections import Counter
from datetime import timedelta
from itertools import islice

import click

from proxy.commands import Commands, store_clock
from proxy.commands.dead_letter_filter import Selection, choosing, naming
from proxy.commands.dead_letter_views import line_of, outcome_line, page_of
from proxy.commands.time_params import Span
from proxy.domain.dead_letters import DeadLetter
from proxy.usecases.replay_dead_letter import NotReplayable, Replay, ReplayRules, Throttle, prepare, replay_dead_letter
from proxy.wiring.common import lanes_of, webhooks_of


@click.group("dead-letters", cls=Commands)
def dead_letters() -> None:
    """See, put back to work or drop what ended without an alert: jobs, callbacks, unreadable records; and callbacks
    that a webhook did not take.

    Dead letters are named by their ids, or chosen by section, channel, cause and age. What is printed holds nothing
    that people wrote; the words are kept for relay.dedupe_ttl_s beside them, and only a replay reads them.
    """


dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask, however many they are.")


@dead_letters.command("list")
@choosing
@click.option("--count", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most, per appId.")
def list_dead_letters(selection: Selection, count: int) -> None:
    """One line of JSON each, the newest first: when, why, and for whom."""
    for app_id in selection.app_ids:
        for letter in islice(selection.newest_first(app_id), count):
            click.echo(line_of(letter))


@dead_letters.command("show")
@choosing
@naming
def show_dead_letters(selection: Selection) -> None:
    """All that is known of some dead letters, with what was tried before; the oldest first."""
    for letter in selection.letters():
        click.echo(page_of(letter, selection.store.words_until(letter)))


@dead_letters.command("replay")
@choosing
@naming
@dry_run_option
@yes_option
@click.option("--rate", type=click.FloatRange(0.01, 10_000), default=50, show_default=True, help="At most, a second.")
@click.option("--life", type=Span(), default="1h", show_default=True, help="How long a job is worth showing, at least.")
@click.option("--without-words", is_flag=True, help="Where a job's words are gone, show that there is a message.")
def replay_dead_letters(
    selection: Selection, dry_run: bool, yes: bool, rate: float, life: timedelta, without_words: bool
) -> None:
    """Put dead letters back to work, the oldest first: jobs into their lanes, callbacks before the plan.

    A replayed job has the same identity for the provider and the phone, so it replaces what may be shown already, and a
    device that has moved since gets nothing. One line of JSON for each; the exit code is 1 where one was
    refused, which stays a dead letter.
    """
    letters, settings = selection.letters(), selection.settings
    rules = ReplayRules(
        lanes=[*lanes_of(settings), *(it.lane for it in webhooks_of(settings))],
        alert_ttl=settings.relay.alert_ttl,
        dedupe_ttl=settings.relay.dedupe_ttl,
        life=life,
        without_words=without_words,
    )
    _ask("put back to work", letters, yes or dry_run)
    now = store_clock(settings)
    throttle, counts = Throttle(rate, time.monotonic, time.sleep), Counter[str]()
    for letter in letters:
        if dry_run:
            outcome: Replay | NotReplayable | None = prepare(letter, selection.store, rules, now())
        else:
            throttle.wait()
            outcome = replay_dead_letter(letter, selection.store, rules, now())
        counts[_report(letter, outcome, dry_run)] += 1
    _sum_up(counts)


@dead_letters.command("drop")
@choosing
@naming
@dry_run_option
@yes_option
def drop_dead_letters(selection: Selection, dry_run: bool, yes: bool) -> None:
    """Remove dead letters and their words for good; one line of JSON for each."""
    letters, counts = selection.letters(), Counter[str]()
    _ask("dropped for good", letters, yes or dry_run)
    for letter in letters:
        result = "would drop" if dry_run else "dropped" if selection.store.drop(letter) else "gone"
        click.echo(outcome_line(letter, result))
        counts[result] += 1
    _sum_up(counts)


def _ask(what: str, letters: list[DeadLetter], yes: bool) -> None:
    if len(letters) > 1 and not yes:
        click.confirm(f"{len(letters)} dead letters are to be {what}. Go on?", abort=True, err=True)


def _report(letter: DeadLetter, outcome: Replay | NotReplayable | None, dry_run: bool) -> str:
    match outcome:
        case Replay(_, _, expires_at):
            result = "would replay" if dry_run else "replayed"
            click.echo(outcome_line(letter, result, expires_at=expires_at))
        case NotReplayable(reason):
            result = "refused"
            click.echo(outcome_line(letter, result, reason=reason))
        case None:
            result = "gone"
            click.echo(outcome_line(letter, result))
    return result


def _sum_up(counts: Counter[str]) -> None:
    click.echo(", ".join(f"{result}: {count}" for result, count in counts.items()) or "none", err=True)
    if counts["refused"]:
        click.get_current_context().exit(1)
