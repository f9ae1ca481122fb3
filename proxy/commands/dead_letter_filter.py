"""Which dead letters a command is about: by id, or by section, channel, cause and age."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Any

import click

from proxy.commands import config_option, store_of
from proxy.commands.time_params import Moment
from proxy.configuration import load_settings
from proxy.domain.dead_letters import Cause, DeadLetter, DeadLetterFilter
from proxy.domain.devices import Platform
from proxy.errors import ProxyError
from proxy.settings import Settings
from proxy.store.queue.dead_letters import RedisDeadLetters
from proxy.wiring.common import webhooks_of

_LETTER_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}(\.[0-9]{1,4})?")
_EVERY = DeadLetterFilter()
_PATIENCE_S = 10.0
Command = Callable[..., None]


@dataclass(frozen=True)
class Selection:
    """Which dead letters a command works on. `ids` empty: all that the filter takes; `limit` None: without a limit."""

    settings: Settings
    store: RedisDeadLetters
    choice: DeadLetterFilter
    ids: tuple[str, ...] = ()
    limit: int | None = None

    @property
    def app_ids(self) -> list[str]:
        every = {section.app_id for section in self.settings.apps.values()}
        return sorted(every & {self.choice.app_id} if self.choice.app_id else every)

    def newest_first(self, app_id: str) -> Iterator[DeadLetter]:
        return self.store.newest_first(app_id, self.choice)

    def letters(self) -> list[DeadLetter]:
        """The oldest first. Raises ProxyError for an id that no dead letter of the choice has."""
        if self.ids:
            found: Iterator[DeadLetter] = map(self._named, dict.fromkeys(self.ids))
        else:
            of_each = [self.store.oldest_first(app_id, self.choice) for app_id in self.app_ids]
            found = iter(merge(*of_each, key=lambda letter: letter.at))
        return list(islice(found, self.limit))

    def _named(self, letter_id: str) -> DeadLetter:
        known = _LETTER_ID.fullmatch(letter_id)
        found = [letter for app_id in self.app_ids if known and (letter := self.store.find(app_id, letter_id))]
        found = [letter for letter in found if self.choice.takes(letter)]
        if not found:
            which = letter_id if known else "of that form"
            raise ProxyError(f"there is no dead letter {which}" + (" in that choice" if self.choice != _EVERY else ""))
        if len(found) > 1:
            raise ProxyError(f"several apps have a dead letter {letter_id}: say which with --app")
        return found[0]


def choosing(command: Command) -> Command:
    """Gives the command a Selection, from the options by which dead letters are chosen."""

    @wraps(command)
    def select(
        config: Path | None,
        app: str | None,
        channel: str | None,
        cause: str | None,
        older_than: datetime | None,
        newer_than: datetime | None,
        ids: tuple[str, ...] = (),
        limit: int | None = None,
        every: bool = True,
        **more: Any,
    ) -> None:
        settings = load_settings(config)
        if app is not None and app not in settings.apps:
            raise click.BadParameter(f"expected one of {', '.join(settings.apps)}", param_hint="--app")
        choice = DeadLetterFilter(
            app_id=settings.apps[app].app_id if app else None,
            app=app,
            channel=channel,
            cause=Cause(cause) if cause else None,
            before=older_than,
            after=newer_than,
        )
        if channel is not None and channel not in (known := _channels(settings)):
            raise click.BadParameter(f"expected one of {', '.join(known)}", param_hint="--channel")
        if not (ids or every) and choice == _EVERY:
            raise click.UsageError("Name dead letters by their ids, choose them by an option, or say --all.")
        caps = {"jobs_cap": settings.store.jobs_cap, "callbacks_cap": settings.store.callbacks_cap}
        command(
            Selection(
                settings, RedisDeadLetters(store_of(settings, at_least_s=_PATIENCE_S), **caps), choice, ids, limit
            ),
            **more,
        )

    return _with(
        select,
        config_option,
        click.option("--app", help="Only this section's; a callback is for all sections of its appId."),
        click.option("--channel", help="Only this channel's: apns, mipush, http, or webhook-NAME."),
        click.option("--cause", type=click.Choice([cause.value for cause in Cause]), help="Only those of this cause."),
        click.option("--older-than", type=Moment(), help="Only those from before then."),
        click.option("--newer-than", type=Moment(), help="Only those since then."),
    )


def _channels(settings: Settings) -> list[str]:
    return [*(it.value for it in Platform), *(it.lane.channel for it in webhooks_of(settings))]


def naming(command: Command) -> Command:
    """Below `choosing`: the command takes ids too, and works on all dead letters only with --all."""
    return _with(
        command,
        click.argument("ids", nargs=-1, metavar="[ID]..."),
        click.option("--all", "every", is_flag=True, help="All of them, where nothing else is chosen."),
        click.option("--limit", type=click.IntRange(1), help="At most so many, the oldest."),
    )


def _with(command: Command, *options: Callable[[Command], Command]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
