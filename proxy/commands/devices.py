"""`app-proxy devices`: who is registered, who was forgotten, and the way back. A line of JSON for each device."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from proxy.commands import Commands, config_option, store_of
from proxy.commands.time_params import Moment
from proxy.configuration import load_settings
from proxy.domain.devices import Device, fingerprint
from proxy.settings import Settings
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.devices.removed import RedisRemovedDevices, RemovedDevice, RestoreResult
from proxy.wiring.common import utc_now

F = TypeVar("F", bound=Callable[..., Any])

_KEPT = timedelta(days=7)
_RELEASED = timedelta(hours=1)


@click.group(cls=Commands)
def devices() -> None:
    """Look at the registered devices, and bring back those that a provider's answer made us forget."""


@devices.command("list")
@config_option
@click.option("--app", help="Only this section.")
@click.option("--account", help="Only this account's.")
def list_devices(config: Path | None, app: str | None, account: str | None) -> None:
    """One line of JSON for each registered device. A push token is shown as a fingerprint alone."""
    settings = load_settings(config)
    registry = RedisDeviceRegistry(store_of(settings), _app_ids(settings))
    for name in _sections(settings, app):
        for device in registry.devices_of(name, account) if account else registry.all_devices(name):
            click.echo(_line(_shown(device)))


def which_removed(command: F) -> F:
    """The options that choose among the forgotten devices."""
    command = click.option("--since", type=Moment(), help="Only what was forgotten since then.")(command)
    command = click.option("--account", help="Only this account's.")(command)
    return config_option(click.option("--app", help="Only this section.")(command))


@devices.command("forgotten")
@which_removed
def list_removed(config: Path | None, app: str | None, account: str | None, since: Any) -> None:
    """One line of JSON for each device that a provider's answer made us forget in the last 7 days, the first first.

    Not those that are registered again, nor those that their users removed.
    """
    settings = load_settings(config)
    for it in _chosen(_forgotten_of(settings), _sections(settings, app), account, since):
        click.echo(_line({**_shown(it.device), "forgotten_at": it.at.isoformat(timespec="seconds")}))


@devices.command("restore")
@which_removed
@click.option("--dry-run", is_flag=True, help="Only say what would become of each.")
def restore(config: Path | None, app: str | None, account: str | None, since: Any, dry_run: bool) -> None:
    """Bring forgotten devices back, once topic, environment or package are right again.

    A device or push token that was registered since stays as it is, and a blocked account stays blocked. What is
    restored counts as never forgotten, so that the next dead device does not bring the brake back.
    """
    settings = load_settings(config)
    removed_registration = _forgotten_of(settings)
    for it in _chosen(removed_registration, _sections(settings, app), account, since):
        found = removed_registration.restore(it, only_ask=dry_run)
        done = found is RestoreResult.RESTORED
        told = {"result": ("would be restored" if dry_run else "restored") if done else "not restored"}
        reason = {} if done else {"reason": found.value}
        click.echo(_line({**_shown(it.device), "forgotten_at": it.at.isoformat(timespec="seconds"), **told, **reason}))


@devices.command("release")
@config_option
@click.argument("app")
def release(config: Path | None, app: str) -> None:
    """Let go of the brakes of the section APP for an hour: what a provider calls dead is forgotten, however many.

    For when they really are dead. The brake also ends by itself, once fewer were called dead within an hour.
    """
    settings = load_settings(config)
    (section,) = _sections(settings, app, param_hint="APP")
    until = utc_now() + _RELEASED
    _forgotten_of(settings).release(section, until)
    click.echo(_line({"app": section, "released_until": until.isoformat(timespec="seconds")}))


def _chosen(
    removed_registration: RedisRemovedDevices, sections: list[str], account: str | None, since: Any
) -> Iterator[RemovedDevice]:
    for name in sections:
        for it in removed_registration.removed(name, since or utc_now() - _KEPT):
            if account in (None, it.device.account):
                yield it


def _sections(settings: Settings, app: str | None, param_hint: str = "--app") -> list[str]:
    if app is not None and app not in settings.apps:
        raise click.BadParameter(f"expected one of {', '.join(settings.apps)}", param_hint=param_hint)
    return [app] if app else list(settings.apps)


def _app_ids(settings: Settings) -> dict[str, str]:
    return {name: section.app_id for name, section in settings.apps.items()}


def _forgotten_of(settings: Settings) -> RedisRemovedDevices:
    return RedisRemovedDevices(store_of(settings), _app_ids(settings), settings.devices.per_account)


def _shown(device: Device) -> dict[str, str]:
    shown = {
        "app": device.app, "account": device.account, "device_id": device.device_id, "platform": device.platform,
        "push_token_fingerprint": fingerprint(device.push_token), "environment": device.environment,
        "registered_at": device.registered_at.isoformat(timespec="seconds"), "resource": device.resource,
        "locale": device.locale, "trouble": device.invalid_reason,
    }  # fmt: skip
    return {name: value for name, value in shown.items() if value}


def _line(shown: dict[str, str]) -> str:
    return json.dumps(shown, ensure_ascii=False)
