"""`app-proxy token`: a bearer as the developer's own system would sign it."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import jwt

from proxy.auth.credentials import account_of
from proxy.commands import config_option
from proxy.configuration import load_settings
from proxy.errors import BadSettings
from proxy.settings import JwtSettings, key_text


@click.command()
@config_option
@click.option("--account", required=True, help="The appAccount.")
@click.option("--ttl", type=click.IntRange(1, 30 * 86400), default=3600, show_default=True, help="Seconds it lives.")
@click.option("--issuer", help="The NAME of [auth.jwt.NAME]; default: the first that has a secret.")
def token(config: Path | None, account: str, ttl: int, issuer: str | None) -> None:
    """Print a bearer for an account, signed as your own system would, with an issuer's secret.

    For trying things out: its holder acts as this account until it expires.
    """
    if account_of(account) is None:
        raise click.BadParameter("1 to 256 bytes, without control characters", param_hint="--account")
    signer = _signer(load_settings(config).auth.jwt, issuer)
    if not account.startswith(signer.account_prefix) or account == signer.account_prefix:
        raise click.BadParameter("must start with the issuer's account_prefix", param_hint="--account")
    now = int(time.time())
    claims: dict[str, Any] = {"iat": now, "exp": now + ttl}
    claims |= {name: text for name, text in (("iss", signer.issuer), ("aud", signer.audience)) if text}
    *path, last = signer.account_claim.split(".")
    place = claims
    for name in path:
        place = place.setdefault(name, {})
    place[last] = account.removeprefix(signer.account_prefix)
    algorithms = signer.algorithms or ("HS256",)
    click.echo(jwt.encode(claims, key_text(signer.all_secrets[0], algorithms), algorithm=algorithms[0]))


def _signer(issuers: Mapping[str, JwtSettings], name: str | None) -> JwtSettings:
    if name is not None and name not in issuers:
        raise BadSettings([f"auth.jwt.{name}: the section is missing"])
    found = next((own for called, own in issuers.items() if name in (None, called) and own.all_secrets), None)
    if found is None:
        raise BadSettings([f"auth.jwt.{name or 'NAME'}: no issuer has a secret, so there is no key to sign with"])
    return found
