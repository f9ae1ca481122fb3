"""`app-proxy store`: how the store is laid out."""

from pathlib import Path

import click

from proxy.commands import Commands, config_option, store_clock, store_of
from proxy.configuration import load_settings
from proxy.store.upgrade import make_compact


@click.group(cls=Commands)
def store() -> None:
    """How the store is laid out."""


@store.command()
@config_option
def upgrade(config: Path | None) -> None:
    """Let a store that an earlier version made take less room: a third of the bytes for each message.

    Only when no process of an earlier version runs any more, and none will: it could not read what is written then.
    Processes that run need not be restarted. What the store holds stays; for two relay.dedupe_ttl_s what was written
    before is asked, too, so that nothing is shown twice. Repeating it changes nothing.
    """
    settings = load_settings(config)
    begins_at = make_compact(store_of(settings, at_least_s=5), store_clock(settings)())
    if begins_at is None:
        click.echo("nothing to do: the store is compact")
    else:
        click.echo(f"the store is compact; its marks from {begins_at:%Y-%m-%d %H:%M:%S} UTC on")
