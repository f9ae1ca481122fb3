"""`app-proxy dead-letters`: what ended without an alert, a line of JSON each."""

from pathlib import Path

import click

from proxy.commands import Commands, config_option
from proxy.commands.stores import store_of
from proxy.configuration import load_settings
from proxy.store.dead_letters import RedisDeadLetters, to_json


@click.group("dead-letters", cls=Commands)
def dead_letters() -> None:
    """Look at the jobs that ended without an alert."""


@dead_letters.command("list")
@config_option
@click.option("--app", help="Only this section.")
@click.option("--count", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most, per appId.")
def list_dead_letters(config: Path | None, app: str | None, count: int) -> None:
    """One line of JSON each, the newest first: when, why, and for whom. What people wrote is not kept."""
    settings = load_settings(config)
    letters = RedisDeadLetters(store_of(settings), {section.app_id for section in settings.apps.values()})
    for letter in letters.recent(count, app):
        click.echo(to_json(letter))
