"""`app-proxy devices`: what is registered, moving it in and out, what was removed, and the way back.

A line of JSON for each device.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import click

from proxy.auth.credentials import account_of
from proxy.commands import Commands, as_json, config_option, store_clock, store_of
from proxy.commands.time_params import Moment
from proxy.configuration import load_settings
from proxy.domain.devices import ImportResult, shown
from proxy.errors import ProxyError, StoreUnavailable
from proxy.settings import Settings
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.devices.removed import RedisRemovedDevices, RemovedDevice
from proxy.store.devices.restoring import RestoreResult
from proxy.usecases.import_devices import Rules, exported, read_lines, waves

F = TypeVar("F", bound=Callable[..., Any])

_KEPT = timedelta(days=7)
_RELEASED = timedelta(hours=1)
_CALL_S = 15.0  # each takes milliseconds; a store that is saving may take longer
_TOGETHER = 500  # lines that share round trips


@click.group(cls=Commands)
def devices() -> None:
    """Look at the registered devices, and bring back those that a provider's answer removed."""


@devices.command("list")
@config_option
@click.option("--app", help="Only this section.")
@click.option("--account", help="Only this account's.")
def list_devices(config: Path | None, app: str | None, account: str | None) -> None:
    """One line of JSON for each registered device. A push token is shown as a fingerprint alone."""
    settings = load_settings(config)
    registry = RedisDeviceRegistry(store_of(settings), _app_ids(settings), replicas=settings.store.replicas)
    for name in _sections(settings, app):
        for device in registry.devices_of(name, account) if account else registry.all_devices(name):
            click.echo(as_json(shown(device)))


def which_removed(command: F) -> F:
    """The options that choose among the removed devices."""
    command = click.option("--since", type=Moment(), help="Only what was removed since then.")(command)
    command = click.option("--account", help="Only this account's.")(command)
    return config_option(click.option("--app", help="Only this section.")(command))


@devices.command("export")
@config_option
@click.option("--app", help="Only this section.")
@click.option("--with-push-tokens", is_flag=True, help="Needed: the lines are secrets, by which phones are reached.")
def export_devices(config: Path | None, app: str | None, with_push_tokens: bool) -> None:
    """One line of JSON for each registered device, WITH ITS PUSH TOKEN, as `devices import` reads it.

    Keep the file as you keep passwords, and delete it afterwards. A device that changes meanwhile may be missed, or
    come twice, which an import does not mind.
    """
    if not with_push_tokens:
        raise click.UsageError("the lines hold push tokens, which are secrets: say --with-push-tokens")
    settings = load_settings(config)
    registry = RedisDeviceRegistry(store_of(settings, at_least_s=_CALL_S), _app_ids(settings))
    for name in _sections(settings, app):
        for device in registry.all_devices(name):
            click.echo(as_json(exported(device)))


@devices.command("import")
@config_option
@click.argument("file")
@click.option("--app", help="The section of all lines, whatever they say.")
@click.option("--dry-run", is_flag=True, help="Only count what would become of them.")
@click.option("--from-line", type=click.IntRange(1), default=1, help="Go on there, after an interruption.")
def import_devices(config: Path | None, file: str, app: str | None, dry_run: bool, from_line: int) -> None:
    """Register the devices of FILE (-: stdin), a JSON object in each line.

    A line is what PUT /api/devices/{device_id} takes, and "account", "device_id" and "registered_at", a time with its
    offset. What was registered here at that time or later stays as it is, and what a provider has called dead since
    does not come back. Of a line that is wrong its number and the fault are told, and the others go on; the exit code
    is 1 then. Repeating it changes nothing, so after an interruption the same command goes on, too.
    """
    settings = load_settings(config)
    section = _sections(settings, app)[0] if app else None
    registry = RedisDeviceRegistry(
        store_of(settings, at_least_s=_CALL_S),
        _app_ids(settings),
        settings.devices.per_account,
        replicas=settings.store.replicas,
    )
    lines = read_lines(_opened(file), Rules(settings.apps, section, account_of, store_clock(settings)()))
    counts, number, began = Counter[str](), 0, time.monotonic()
    shows_progress = sys.stderr.isatty()
    chosen = (line for line in lines if line.number >= from_line)
    while some := list(islice(chosen, _TOGETHER)):
        for line in some:
            if line.device is None:
                counts["wrong"] += 1
                click.echo(f"line {line.number}: {line.fault}", err=True)
        try:
            for wave in waves(line.device for line in some if line.device):
                counts.update(it.value for it in registry.import_all(wave, only_ask=dry_run))
        except StoreUnavailable:
            click.echo(f"stopped: --from-line {some[0].number} goes on", err=True)
            raise
        number = some[-1].number
        if shows_progress:
            rate = sum(counts.values()) / max(time.monotonic() - began, 0.001)
            click.echo(f"\r{number:,} lines, {rate:,.0f}/s ", nl=False, err=True)
    if shows_progress and number:
        click.echo("", err=True)
    told = {it.value: counts[it.value] for it in ImportResult}
    click.echo(as_json({"lines": sum(counts.values()), "dry_run": dry_run, **told, "wrong": counts["wrong"]}))
    if counts["wrong"]:
        raise ProxyError(f"{counts['wrong']} lines are wrong")


@devices.command("removed")
@which_removed
def list_removed(config: Path | None, app: str | None, account: str | None, since: Any) -> None:
    """One line of JSON for each device that a provider's answer removed in the last 7 days, the oldest first.

    Devices that are registered again, or that their users removed, are left out.
    """
    settings = load_settings(config)
    since = since or store_clock(settings)() - _KEPT
    for removed in _chosen(_removed_devices(settings), _sections(settings, app), account, since):
        click.echo(as_json(_removal(removed)))


@devices.command("restore")
@which_removed
@click.option("--dry-run", is_flag=True, help="Only say what would become of each.")
def restore(config: Path | None, app: str | None, account: str | None, since: Any, dry_run: bool) -> None:
    """Bring removed devices back, once topic, environment or package are right again.

    A device or push token that was registered since stays as it is, and a blocked account stays blocked. What is
    restored counts as never removed, so that the next dead device does not start the removal guard again.
    """
    settings = load_settings(config)
    removed_devices = _removed_devices(settings)
    since = since or store_clock(settings)() - _KEPT
    for removed in _chosen(removed_devices, _sections(settings, app), account, since):
        found = removed_devices.restore(removed, only_ask=dry_run)
        done = found is RestoreResult.RESTORED
        result = {"result": ("would be restored" if dry_run else "restored") if done else "not restored"}
        reason = {} if done else {"reason": found.value}
        click.echo(as_json({**_removal(removed), **result, **reason}))


@devices.command("release")
@config_option
@click.argument("app")
def release(config: Path | None, app: str) -> None:
    """Switch off the removal guards of the section APP for an hour: all devices called dead are removed.

    For when they really are dead. The guard also ends by itself, once fewer were called dead within an hour.
    """
    settings = load_settings(config)
    (section,) = _sections(settings, app, param_hint="APP")
    until = store_clock(settings)() + _RELEASED
    _removed_devices(settings).release(section, until)
    click.echo(as_json({"app": section, "released_until": until.isoformat(timespec="seconds")}))


def _opened(file: str) -> BinaryIO:
    try:
        return cast(BinaryIO, click.get_current_context().with_resource(click.open_file(file, "rb")))
    except OSError as error:
        raise click.BadParameter(f"cannot be opened: {error.strerror}", param_hint="FILE") from None


def _chosen(
    removed_devices: RedisRemovedDevices, sections: list[str], account: str | None, since: Any
) -> Iterator[RemovedDevice]:
    for name in sections:
        for removed in removed_devices.removed(name, since):
            if account in (None, removed.device.account):
                yield removed


def _sections(settings: Settings, app: str | None, param_hint: str = "--app") -> list[str]:
    if app is not None and app not in settings.apps:
        raise click.BadParameter(f"expected one of {', '.join(settings.apps)}", param_hint=param_hint)
    return [app] if app else list(settings.apps)


def _app_ids(settings: Settings) -> dict[str, str]:
    return {name: section.app_id for name, section in settings.apps.items()}


def _removed_devices(settings: Settings) -> RedisRemovedDevices:
    return RedisRemovedDevices(
        store_of(settings), _app_ids(settings), settings.devices.per_account, replicas=settings.store.replicas
    )


def _removal(removed: RemovedDevice) -> dict[str, Any]:
    return {**shown(removed.device), "removed_at": removed.at.isoformat(timespec="seconds")}
