"""`app-proxy keys`: API keys, by which servers of the developer's own call MIMC's API here."""

import secrets
from pathlib import Path
from typing import Any

import click

from proxy.auth.credentials import account_of
from proxy.commands import Commands, as_json, config_option, store_clock, store_of
from proxy.configuration import load_settings
from proxy.domain.api_keys import KEY_BYTES, ApiKey, Scope, can_be_a_name, hash_of, id_of, new_bearer
from proxy.errors import ProxyError
from proxy.settings import Settings
from proxy.store.users.api_keys import RedisApiKeys


@click.group(cls=Commands)
def keys() -> None:
    """API keys for servers of your own: bots, system messages, moderation.

    A server shows its key as `Authorization: Bearer ak_...`. It acts as one account of one app, and may do what the
    scopes of its key name. No key opens the token call, or anything else that is for users alone.
    """


@keys.command("add")
@config_option
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, metavar="SCOPE",
    help=f"What it may do, once for each: {', '.join(Scope)}.",
)  # fmt: skip
@click.option("--as", "account", required=True, metavar="ACCOUNT", help="The account that the server acts as.")
@click.option("--app", help="The section that it is good for; needed where there are several.")
def add_key(config: Path | None, name: str, scopes: tuple[str, ...], account: str, app: str | None) -> None:
    """Make a key and print it, this once: the store has only a hash of it."""
    settings = load_settings(config)
    bearer = new_bearer(secrets.token_bytes(KEY_BYTES))
    key = ApiKey(
        id=id_of(hash_of(bearer)),
        name=_name(name),
        app=_section(settings, app),
        account=_account(account),
        scopes=frozenset(map(_scope, scopes)),
        created_at=store_clock(settings)(),
    )
    if not RedisApiKeys(store_of(settings)).add(key, bearer):
        raise ProxyError("there is such a key already; give the new one another name, then revoke the old one")
    click.echo(bearer)
    click.echo(f"the key {key.name} has the id {key.id}; it is not shown again", err=True)
    if not settings.apps[key.app].api:
        click.echo(f"note: apps.{key.app}.api is empty, so the key opens nothing yet", err=True)


@keys.command("list")
@config_option
def list_keys(config: Path | None) -> None:
    """One line of JSON for each key, the oldest first. When it was last used is up to two minutes old."""
    for key in RedisApiKeys(store_of(load_settings(config))).all_keys():
        click.echo(as_json(_shown(key)))


@keys.command("revoke")
@config_option
@click.argument("id_or_name", metavar="ID|NAME")
def revoke_key(config: Path | None, id_or_name: str) -> None:
    """End a key at once, in every web process; there is no way back."""
    settings = load_settings(config)
    key = RedisApiKeys(store_of(settings)).revoke(id_or_name)
    if key is None:
        raise ProxyError("there is no such key")
    click.echo(as_json({**_shown(key), "revoked": True}))


def _shown(key: ApiKey) -> dict[str, Any]:
    used_at = key.last_used_at
    return {
        "id": key.id, "name": key.name, "app": key.app, "account": key.account, "scopes": sorted(key.scopes),
        "created_at": key.created_at.isoformat(timespec="seconds"),
        "last_used_at": used_at.isoformat(timespec="seconds") if used_at else None,
    }  # fmt: skip


def _name(text: str) -> str:
    if not can_be_a_name(text):
        raise click.BadParameter("1 to 64 letters, digits, -, _ and ., and not like an id", param_hint="NAME")
    return text


def _scope(text: str) -> Scope:
    if text not in set(Scope):
        raise click.BadParameter(f"{text!r} is none of {', '.join(Scope)}", param_hint="--scope")
    return Scope(text)


def _account(text: str) -> str:
    account = account_of(text)
    if account is None:
        raise click.BadParameter("1 to 256 bytes, without control characters", param_hint="--as")
    return account


def _section(settings: Settings, app: str | None) -> str:
    if app is None and len(settings.apps) == 1:
        return next(iter(settings.apps))
    if app not in settings.apps:
        raise click.BadParameter(f"expected one of {', '.join(settings.apps)}", param_hint="--app")
    return app
