"""`app-proxy token`: a bearer as the developer's own system would sign it, and what the broker says to it."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import jwt

from proxy.auth.credentials import account_of
from proxy.check_config.broker import ask_broker
from proxy.check_config.tokens import ask_for_token
from proxy.commands import config_option
from proxy.commands.checking import show
from proxy.configuration import load_settings
from proxy.errors import BadSettings
from proxy.settings import JwtSettings, Settings, key_text


@click.command()
@config_option
@click.option("--account", required=True, help="The appAccount.")
@click.option("--ttl", type=click.IntRange(1, 30 * 86400), default=3600, show_default=True, help="Seconds it lives.")
@click.option("--issuer", help="The NAME of [auth.jwt.NAME]; default: the first that has a secret.")
@click.option("--check", is_flag=True, help="Ask the running broker for a MIMC token with it; print neither.")
@click.option("--url", help="With --check: where the broker is. Default: http:// and server.bind.")
@click.option("--app", help="With --check: the NAME of [apps.NAME]. Default: the issuer's, or the first.")
@click.pass_context
def token(
    ctx: click.Context,
    config: Path | None,
    account: str,
    ttl: int,
    issuer: str | None,
    check: bool,
    url: str | None,
    app: str | None,
) -> None:
    """Print a bearer for an account, signed as your own system would, with an issuer's secret.

    For trying things out: its holder acts as this account until it expires.

    With --check it is shown to the running broker, as this account's app would, and what came of it is printed instead.
    Where the broker gives no token MIMC is asked directly, so that it is seen on which side the fault is. MIMC makes a
    user of an account that it does not know. Exit code 1: no token was given.
    """
    settings = load_settings(config)
    signer = _signer(settings.auth.jwt, issuer)
    bearer = _bearer(signer, account, ttl)
    if not check:
        if url or app:
            raise click.UsageError("--url and --app belong to --check")
        click.echo(bearer)
        return
    section = _section(settings, app or signer.app)
    finding = ask_broker(url or f"http://{_here(settings.server.bind)}", bearer, settings.apps[section].app_id)
    show(finding)
    if finding.verdict != "ok":
        show(ask_for_token(section, settings.apps[section], account))
        ctx.exit(1)


def _section(settings: Settings, app: str | None) -> str:
    if app is not None and app not in settings.apps:
        raise click.BadParameter(f"expected one of {', '.join(settings.apps)}", param_hint="--app")
    return app or next(iter(settings.apps))


def _here(bind: str) -> str:
    """Where this machine reaches a server that listens there."""
    return bind.replace("0.0.0.0:", "127.0.0.1:", 1).replace("[::]:", "[::1]:", 1)


def _bearer(signer: JwtSettings, account: str, ttl_s: int) -> str:
    if account_of(account) is None:
        raise click.BadParameter("1 to 256 bytes, without control characters", param_hint="--account")
    if not account.startswith(signer.account_prefix) or account == signer.account_prefix:
        raise click.BadParameter("must start with the issuer's account_prefix", param_hint="--account")
    now = int(time.time())
    claims: dict[str, Any] = {"iat": now, "exp": now + ttl_s}
    claims |= {name: text for name, text in (("iss", signer.issuer), ("aud", signer.audience)) if text}
    *path, last = signer.account_claim.split(".")
    place = claims
    for name in path:
        place = place.setdefault(name, {})
    place[last] = account.removeprefix(signer.account_prefix)
    algorithms = signer.algorithms or ("HS256",)
    return jwt.encode(claims, key_text(signer.all_secrets[0], algorithms), algorithm=algorithms[0])


def _signer(issuers: Mapping[str, JwtSettings], name: str | None) -> JwtSettings:
    if name is not None and name not in issuers:
        raise BadSettings([f"auth.jwt.{name}: the section is missing"])
    found = next((own for called, own in issuers.items() if name in (None, called) and own.all_secrets), None)
    if found is None:
        raise BadSettings([f"auth.jwt.{name or 'NAME'}: no issuer has a secret, so there is no key to sign with"])
    return found
