"""`app-proxy store`: how the store is laid out."""

import time
from pathlib import Path

import click

from proxy.commands import Commands, config_option, store_clock, store_of
from proxy.configuration import load_settings
from proxy.errors import NotPossible
from proxy.store.keys import MOST_SHARDS, SHARDS, tags_of
from proxy.store.reshard import Resharding, begin, shards_of, under_way, working
from proxy.store.upgrade import make_compact
from proxy.text import printable

_HEARD_AFTER_S = 2.0  # each process looks at the store once a second
_CALL_S = 15.0  # each takes milliseconds; a store that is saving may take longer


@click.group(cls=Commands)
def store() -> None:
    """How the store is laid out."""


@store.command()
@config_option
def upgrade(config: Path | None) -> None:
    """Let a store that an earlier version made take less room: a quarter of the bytes for each message.

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


@store.command()
@config_option
@click.option("--shards", type=int, default=SHARDS, show_default=True, help="How many; a power of two.")
@click.option("--even-so", is_flag=True, help="Although workers have said something within 30 s.")
def reshard(config: Path | None, shards: int, even_so: bool) -> None:
    """Move a store to another number of shards. Stop all workers and webs first, and keep them stopped.

    A process that runs all the same takes the store for one that is away, or ends. Interrupted at any moment, the same
    command goes on; nothing else works with the store before it has ended. Everything is moved but the history, which
    is dropped. Then set store.shards to the number, or leave it out, and start webs and workers. A store of an earlier
    version becomes compact: no process of that version may run any more.
    """
    if not 1 <= shards <= MOST_SHARDS or shards & (shards - 1):
        raise click.BadParameter(f"a power of two up to {MOST_SHARDS}", param_hint="--shards")
    settings = load_settings(config)
    its = store_of(settings, at_least_s=_CALL_S)
    now = store_clock(settings)()
    if not even_so and (names := working(its, now)):
        raise NotPossible(
            f"workers have said something within 30 s: {', '.join(names[:5])}. Stop all workers and webs, "
            "wait half a minute, then repeat this; --even-so does not wait"
        )
    moves = under_way(its)
    if moves is None and shards_of(its) == shards:
        click.echo(f"nothing to do: the store has {shards} shards")
        return
    if moves is None and shards_of(its) and set(tags_of(shards_of(its))) & set(tags_of(shards)):
        raise NotPossible("these two numbers have keys in common: move the store by way of half as many first")
    if moves and moves.shards != shards:
        raise NotPossible(
            f"the store is being moved to {moves.shards} shards: app-proxy store reshard --shards {moves.shards} goes "
            "on with that"
        )
    moves = begin(its, shards)
    click.echo(f"from {moves.before or 'no'} shards to {moves.shards}; interrupted, the same command goes on")
    time.sleep(_HEARD_AFTER_S)
    moved = Resharding(its, moves, settings.relay.dedupe_ttl, now, settings.store.replicas).run()
    click.echo(f"moved {moved.keys} keys, and {moved.entries} entries of streams and retries; the history was dropped")
    for name in moved.broken:
        click.echo(f"left, as it is not of its type: {printable(name)}", err=True)
    click.echo(f"the store has {moved.shards} shards: let store.shards say so or leave it out, then start everything")
