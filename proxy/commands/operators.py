"""`app-proxy operators`: the accounts of the people who run the service, for its console."""

from pathlib import Path

import click

from proxy.auth.credentials import account_of
from proxy.auth.operators import Operators
from proxy.commands import Commands, as_json, config_option
from proxy.commands.passwords import new_password, password_option
from proxy.configuration import load_settings
from proxy.errors import ProxyError
from proxy.wiring.common import utc_now
from proxy.wiring.web import operators_of


@click.group(cls=Commands)
def operators() -> None:
    """The operators, who may sign in to the console at server.operator_bind, /console. They are no chat users.

    Each change counts at once, without a restart of the web.
    """


@operators.command("add")
@config_option
@password_option
@click.argument("name")
def add(config: Path | None, name: str, from_stdin: bool) -> None:
    """Make an operator. Their password is asked for twice, without being shown."""
    name, accounts = _name(name), _operators(config)
    if not accounts.add(name, new_password(from_stdin), utc_now()):
        raise ProxyError("there is such an operator already")


@operators.command("list")
@config_option
def list_operators(config: Path | None) -> None:
    """One line of JSON for each operator."""
    for name, since in _operators(config).names():
        click.echo(as_json({"operator": name, "created_at": since.isoformat(timespec="seconds")}))


@operators.command("password")
@config_option
@password_option
@click.argument("name")
def password(config: Path | None, name: str, from_stdin: bool) -> None:
    """Give an operator another password. All their sessions end."""
    name, accounts = _name(name), _operators(config)
    _require(name in dict(accounts.names()))
    _require(accounts.set_password(name, new_password(from_stdin), utc_now()))


@operators.command("remove")
@config_option
@click.argument("name")
def remove(config: Path | None, name: str) -> None:
    """Remove an operator. All their sessions end."""
    _require(_operators(config).remove(_name(name)))


def _operators(config: Path | None) -> Operators:
    found = operators_of(load_settings(config).console)
    click.get_current_context().call_on_close(found.close)
    return found


def _require(is_there: bool) -> None:
    if not is_there:
        raise ProxyError("there is no such operator")


def _name(text: str) -> str:
    name = account_of(text)
    if name is None:
        raise click.BadParameter("1 to 256 bytes, without control characters", param_hint="NAME")
    return name
