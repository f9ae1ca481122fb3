"""The commands of `app-proxy`, a module for each family. This package itself imports none of them."""

import importlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.errors import BadSettings, ProxyError, StoreUnavailable
from proxy.text import printable

if TYPE_CHECKING:
    from proxy.settings import Settings
    from proxy.store.connection import Store


class Commands(click.Group):
    """Commands in the order in which they are written here; errors of ours end in a sentence, not a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  the signature is click's
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BadSettings as error:
            click.echo(f"{len(error.faults)} wrong in the settings:", err=True)
            for fault in error.faults:
                click.echo(f"  {fault}", err=True)
            ctx.exit(2)
        except StoreUnavailable as error:
            click.echo(f"error: {with_place(error)}", err=True)
            ctx.exit(1)
        except ProxyError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(1)


def with_place(error: StoreUnavailable) -> str:
    """The error, and which server it is about."""
    return f"{error}" + (f" (store.url: {error.at})" if error.at else "")


class LazyCommands(Commands):
    """Commands whose modules are imported when they are called: an emulator need not load a database.

    `found_in` says for each name where it is: "module:object".
    """

    def __init__(self, *args: Any, found_in: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._found_in = found_in

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  as above
        return list(self._found_in)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        place = self._found_in.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


def store_of(settings: "Settings", *, at_least_s: float = 0) -> "Store":
    """The store that the settings name. `at_least_s`: how long to wait, where an operator must know what was done."""
    from proxy.store.connection import Store  # noqa: PLC0415  0.1 s of CPU that `emulate` need not spend

    url, timeout_s = settings.store.url.get_secret_value(), settings.store.timeout.total_seconds()
    return Store(
        url,
        max(timeout_s, at_least_s),
        shards=settings.store.shards,
        app_ids=[app.app_id for app in settings.apps.values()],
    )


def store_clock(settings: "Settings") -> Callable[[], datetime]:
    """The store's time: what a command writes there is read by machines with other clocks. Raises StoreUnavailable."""
    from proxy.store.server.clocks import StoreClock  # noqa: PLC0415  as above

    clock = StoreClock()
    store_of(settings).call(clock.measure_with)
    return clock.now


def as_json(facts: Any, indent: int | None = None) -> str:
    """For a terminal: letters of all scripts as they are, and escapes for what a terminal would obey."""
    return printable(json.dumps(facts, ensure_ascii=False, indent=indent), keep="\n")


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The configuration file. Default: $APP_PROXY_CONFIG, else config/proxy.toml.",
)
