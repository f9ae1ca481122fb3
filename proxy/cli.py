"""The command `app-proxy`. Commands are thin: read the settings, call what does the work, print what came of it.

Exit codes: 0 done, 1 it did not work, 2 the settings or the command line are wrong.
"""

import asyncio
import json
import os
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import jwt

from proxy.auth.credentials import account_of
from proxy.check_config import Finding, ask_services, inspect_files
from proxy.configuration import load_settings
from proxy.domain.accounts import MIN_PASSWORD_CHARACTERS, fits
from proxy.domain.devices import Device, fingerprint
from proxy.emulators.apns import ApnsConfig, serve_apns
from proxy.emulators.mimc import MimcConfig, serve_mimc
from proxy.emulators.mipush import MipushConfig, serve_mipush
from proxy.errors import BadSettings, ProxyError, StoreUnavailable
from proxy.local.play import run_own, run_trial
from proxy.logs import configure_logs
from proxy.settings import JwtSettings, Settings, key_text
from proxy.store.blocks import RedisBlocks
from proxy.store.connection import Store
from proxy.store.dead_letters import RedisDeadLetters, to_json
from proxy.store.devices import RedisDevices
from proxy.usecases.block_user import disable_user, enable_user, mend_blocks
from proxy.usecases.sign_in import SignIns, change_password
from proxy.wiring import built_in_accounts, utc_now
from proxy.worker.assembly import run_worker

_MARKS = {"ok": "ok      ", "warning": "warning ", "fault": "FAULT   "}


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
        except ProxyError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(1)


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The configuration file. Default: $APP_PROXY_CONFIG, else config/proxy.toml.",
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="mimc-app-proxy", prog_name="app-proxy")
def cli() -> None:
    """AppProxyService and offline push for chat apps on Xiaomi MIMC.

    The settings are config/proxy.toml, which explains every key; variables like APP_PROXY_STORE__URL override it.

    \b
    To see it work, without any account:
      app-proxy run --demo                   store, emulators, web and worker here; plays the main job

    \b
    To begin with an app of yours:
      app-proxy check-config --offline       what is still to be filled in
      app-proxy check-config                 would MIMC, Apple, Xiaomi and the store work?
      TOKEN=$(app-proxy token --account alice)
      curl -X POST -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/api/account/token

    Every command explains itself: app-proxy COMMAND --help.
    """


@cli.command("check-config")
@config_option
@click.option("--offline", is_flag=True, help="Ask nobody: only the file, the environment and the key files.")
@click.pass_context
def check_config(ctx: click.Context, config: Path | None, offline: bool) -> None:
    """Tell all faults of the settings, then ask the services.

    Nothing is changed and nobody gets an alert. Exit code 2: the settings are wrong; 1: somebody does not answer or
    refuses us; 0: fit for service (warnings are risks that you may take).
    """
    settings = load_settings(config)
    _summarise(settings)
    findings = list(_told(inspect_files(settings)))
    if offline:
        click.echo("offline: the store, MIMC, Apple and Xiaomi were not asked")
    else:
        findings += _told(ask_services(settings))
    if any(finding.verdict == "fault" for finding in findings):
        ctx.exit(1)


def _summarise(settings: Settings) -> None:
    for name, app in settings.apps.items():
        channels = [channel for channel in ("apns", "mipush") if getattr(app, channel) is not None]
        alerts = f"alerts through {' and '.join(channels)}" if channels else "tokens only, no alerts"
        click.echo(f"{_MARKS['ok']}apps.{name}: appId {app.app_id}, {alerts}")


def _told(findings: Iterator[Finding]) -> Iterator[Finding]:
    """The same findings, each shown when it is there: an answer may take seconds."""
    for finding in findings:
        click.echo(f"{_MARKS[finding.verdict]}{finding.place}: {finding.text}")
        yield finding


@cli.command()
@config_option
@click.option("--account", required=True, help="The appAccount.")
@click.option("--ttl", type=click.IntRange(1, 30 * 86400), default=3600, show_default=True, help="Seconds it lives.")
@click.option("--issuer", help="The NAME of [auth.jwt.NAME]; default: the first that has a secret.")
def token(config: Path | None, account: str, ttl: int, issuer: str | None) -> None:
    """Print a bearer for an account, signed as your own system would, with an issuer's secret.

    For trying things out: whoever has it acts as this account until it expires.
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


@cli.command()
@click.argument("name", type=click.Choice(["mimc", "apns", "mipush"]))
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("config/emulators.toml"),
    show_default=True,
    help="A TOML file with a section for each emulator.",
)
@click.option("--port", type=click.IntRange(0, 65535), help="Instead of the section's; 0 takes free ones.")
@click.option("--control-port", type=click.IntRange(0, 65535), help="apns: where faults and journal are, over http.")
@click.option("--callback-url", help="mimc: where the only app's callbacks go.")
def emulate(name: str, config: Path, port: int | None, control_port: int | None, callback_url: str | None) -> None:
    """Serve one emulator until Ctrl-C or SIGTERM.

    Once it takes requests it prints one line of JSON with its port (and what a client must know, like ca_file). It
    refuses what the real service refuses; faults are ordered at /_emulator/faults, what came in is read at
    /_emulator/journal.
    """
    section = _emulator_section(config, name)
    if port is not None:
        section["port"] = port
        if port == 0 and "control_port" in section:
            section["control_port"] = 0
    if control_port is not None:
        section["control_port"] = control_port
    if callback_url is not None:
        section["apps"] = [{**app, "callback_url": callback_url} for app in section.get("apps", [])]
    try:
        _serve(name, section)
    except ValueError as error:
        raise BadSettings([f"{name}: {fault}" for fault in str(error).splitlines()]) from None
    except OSError as error:
        raise ProxyError(f"the {name} emulator cannot serve: {error.strerror or type(error).__name__}") from error


def _emulator_section(path: Path, name: str) -> dict[str, Any]:
    """The emulator's section; what it calls a file or a folder starts at the file's folder."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        told = error if isinstance(error, tomllib.TOMLDecodeError) else type(error).__name__
        raise BadSettings([f"cannot read {path}: {told}"]) from None
    section = document.get(name)
    if not isinstance(section, dict):
        raise BadSettings([f"{path} has no section [{name}]"])
    return {key: _located(key, value, path.parent) for key, value in section.items()}


def _located(name: str, value: object, folder: Path) -> Any:
    """The value with what it calls a file or a folder starting at `folder`, at any depth."""
    match value:
        case dict():
            return {inner: _located(inner, it, folder) for inner, it in value.items()}
        case list():
            return [_located(name, it, folder) for it in value]
        case str() if name.endswith(("_folder", "_file")) or (name == "key" and not value.startswith("-----")):
            return str(folder / value)
        case _:
            return value


def _serve(name: str, section: Mapping[str, Any]) -> None:
    match name:
        case "mimc":
            serve_mimc(MimcConfig.from_mapping(section), _announce)
        case "apns":
            serve_apns(ApnsConfig.from_mapping(section), _announce)
        case "mipush":
            serve_mipush(MipushConfig.from_mapping(section), _announce)


def _announce(facts: Mapping[str, Any]) -> None:
    click.echo(json.dumps(facts))  # echo flushes, so that who waits for the line gets it


@cli.command()
@click.option("--demo", is_flag=True, help="Stop after the main job has been played.")
@click.option("--config", type=click.Path(path_type=Path), help="Yours, instead of a trial on the emulators.")
@click.option(
    "--state", type=click.Path(path_type=Path), default=Path(".state"), show_default=True, help="Store, logs, records."
)
@click.option("--port", type=click.IntRange(1, 65535), help="The web's port. Default: 8080, or a free one.")
@click.pass_context
def run(ctx: click.Context, demo: bool, config: Path | None, state: Path, port: int | None) -> None:
    """Run everything on this machine: store, emulators, web, worker; play the main job once; stay up.

    Without an account anywhere. With --config (or $APP_PROXY_CONFIG) it serves your own app instead: no emulators,
    nothing is played. REDIS_URL names a store to use in place of the embedded one.

    Exit codes: 0 fine, 1 a step failed, 2 it could not start (a second copy, a taken port).
    """
    config = config or (Path(os.environ["APP_PROXY_CONFIG"]) if os.environ.get("APP_PROXY_CONFIG") else None)
    ctx.exit(run_own(state, config, click.echo) if config else run_trial(state, port, click.echo, demo=demo))


@cli.command()
@config_option
def worker(config: Path | None) -> None:
    """Plan and deliver until SIGTERM; then finish what is in flight and leave the rest to the others.

    Any number of workers may run, on any number of machines: they share nothing but the store.
    """
    settings = load_settings(config)
    configure_logs(settings.logs.format, settings.logs.level)
    asyncio.run(run_worker(settings))


@cli.group(cls=Commands)
def devices() -> None:
    """Look at the registered devices."""


@devices.command("list")
@config_option
@click.option("--app", help="Only this section.")
@click.option("--account", help="Only this account's.")
def list_devices(config: Path | None, app: str | None, account: str | None) -> None:
    """One line of JSON for each registered device. A push token is shown as a fingerprint alone."""
    settings = load_settings(config)
    if app is not None and app not in settings.apps:
        raise click.BadParameter(f"expected one of {', '.join(settings.apps)}", param_hint="--app")
    registry = RedisDevices(_store(settings), {name: section.app_id for name, section in settings.apps.items()})
    for name in [app] if app else settings.apps:
        for device in registry.devices_of(name, account) if account else registry.all_devices(name):
            click.echo(_device_line(device))


@cli.group("dead-letters", cls=Commands)
def dead_letters() -> None:
    """Look at the jobs that ended without an alert."""


@dead_letters.command("list")
@config_option
@click.option("--app", help="Only this section.")
@click.option("--count", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most, per appId.")
def list_dead_letters(config: Path | None, app: str | None, count: int) -> None:
    """One line of JSON each, the newest first: when, why, and for whom. What people wrote is not kept."""
    settings = load_settings(config)
    letters = RedisDeadLetters(_store(settings), {section.app_id for section in settings.apps.values()})
    for letter in letters.recent(count, app):
        click.echo(to_json(letter))


@cli.group(cls=Commands)
def accounts() -> None:
    """Block accounts of whatever system proves them, and let them in again.

    A blocked account gets no MIMC token and no alert from the next request on, also with a bearer that is still good.
    A MIMC token that it was given before stays valid at MIMC: this service cannot call it back.
    """


@accounts.command()
@config_option
@click.argument("account")
def block(config: Path | None, account: str) -> None:
    """Block an account. Repeating it changes nothing."""
    RedisBlocks(_store(load_settings(config))).block(_account(account))


@accounts.command()
@config_option
@click.argument("account")
def unblock(config: Path | None, account: str) -> None:
    """Let a blocked account in again."""
    RedisBlocks(_store(load_settings(config))).unblock(_account(account))


@cli.group(cls=Commands)
def users() -> None:
    """The built-in accounts of [auth.accounts]: who may sign in at /auth/login."""


password_option = click.option(
    "--password-stdin", "from_stdin", is_flag=True, help="Read the password from the first line of stdin."
)


@users.command("add")
@config_option
@password_option
@click.argument("account")
def add_user(config: Path | None, account: str, from_stdin: bool) -> None:
    """Make an account. Its password is asked for twice, without being shown."""
    account, sign_ins = _account(account), _sign_ins(config)
    password_hash = sign_ins.passwords.hash(_new_password(from_stdin))
    if not sign_ins.accounts.add(account, password_hash, utc_now()):
        raise ProxyError("there is such a user already")
    _mend(sign_ins)  # somebody of that name may be blocked


@users.command("disable")
@config_option
@click.argument("account")
def disable(config: Path | None, account: str) -> None:
    """Stop a user at once: no sign-in, no token, no alert; his sessions end. It may be repeated.

    A MIMC token that he already has stays valid at MIMC until it expires.
    """
    sign_ins = _sign_ins(config)
    _mend(sign_ins)
    _require_user(disable_user(_account(account), sign_ins.accounts, sign_ins.blocks, utc_now()))


@users.command("enable")
@config_option
@click.argument("account")
def enable(config: Path | None, account: str) -> None:
    """Let a disabled user sign in again."""
    sign_ins = _sign_ins(config)
    _mend(sign_ins)
    _require_user(enable_user(_account(account), sign_ins.accounts, sign_ins.blocks, utc_now()))


@users.command("passwd")
@config_option
@password_option
@click.argument("account")
def passwd(config: Path | None, account: str, from_stdin: bool) -> None:
    """Give a user another password. All his sessions end."""
    account, sign_ins = _account(account), _sign_ins(config)
    _mend(sign_ins)
    _require_user(sign_ins.accounts.find(account) is not None)
    password_hash = sign_ins.passwords.hash(_new_password(from_stdin))
    _require_user(change_password(account, password_hash, sign_ins, utc_now()))


@users.command("list")
@config_option
def list_users(config: Path | None) -> None:
    """One line of JSON for each user."""
    sign_ins = _sign_ins(config)
    _mend(sign_ins)
    for user in sign_ins.accounts.users():
        shown = {"account": user.account, "created_at": user.created_at.isoformat(timespec="seconds")}
        if user.disabled_at:
            shown["disabled_at"] = user.disabled_at.isoformat(timespec="seconds")
        click.echo(json.dumps(shown, ensure_ascii=False))


def _sign_ins(config: Path | None) -> SignIns:
    settings = load_settings(config)
    found = built_in_accounts(settings.auth.accounts, RedisBlocks(_store(settings)))
    if found is None:
        raise BadSettings(["auth.accounts: the section is missing, so there are no built-in accounts"])
    return found


def _mend(sign_ins: SignIns) -> None:
    try:
        mend_blocks(sign_ins.accounts, sign_ins.blocks, utc_now())
    except StoreUnavailable as error:
        click.echo(f"note: whether blocks and disabled users agree could not be seen: {error}", err=True)


def _require_user(is_there: bool) -> None:
    if not is_there:
        raise ProxyError("there is no such user")


def _new_password(from_stdin: bool) -> str:
    password: str
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    if len(password) < MIN_PASSWORD_CHARACTERS or not fits(password):
        raise ProxyError(f"the password must have {MIN_PASSWORD_CHARACTERS} characters or more, in 1024 bytes at most")
    return password


def _account(text: str) -> str:
    account = account_of(text)
    if account is None:
        raise click.BadParameter("1 to 256 bytes, without control characters", param_hint="ACCOUNT")
    return account


def _store(settings: Settings) -> Store:
    return Store(settings.store.url.get_secret_value(), settings.store.timeout_s)


def _device_line(device: Device) -> str:
    shown = {
        "app": device.app, "account": device.account, "device_id": device.device_id, "platform": device.platform,
        "push_token": fingerprint(device.push_token), "environment": device.environment,
        "registered_at": device.registered_at.isoformat(timespec="seconds"), "resource": device.resource,
        "locale": device.locale, "trouble": device.trouble,
    }  # fmt: skip
    return json.dumps({name: value for name, value in shown.items() if value}, ensure_ascii=False)


def main() -> None:
    cli()
