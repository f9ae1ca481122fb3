"""`app-proxy devices` and `app-proxy dead-letters`: what the store holds, a line of JSON each."""

import json
from pathlib import Path

import click

from proxy.commands import Commands, config_option
from proxy.commands.stores import store_of
from proxy.configuration import load_settings
from proxy.domain.devices import Device, fingerprint
from proxy.store.dead_letters import RedisDeadLetters, to_json
from proxy.store.devices import RedisDevices


@click.group(cls=Commands)
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
    registry = RedisDevices(store_of(settings), {name: section.app_id for name, section in settings.apps.items()})
    for name in [app] if app else settings.apps:
        for device in registry.devices_of(name, account) if account else registry.all_devices(name):
            click.echo(_device_line(device))


@click.group("dead-letters", cls=Commands)
def dead_letters() -> None:
    """Look at the jobs that ended without an alert."""


@dead_letters.command("list")
@config_option
@click.option("--app", help="Only this section.")
@click.option("--count", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most, per appId.")
def list_dead_letters(config: Path | None, app: str | None, count: int) -> None:
    """One line of JSON each, the newest first: when, why, and for whom. What people wrote is not kept."""
    settings = load_settings(config)
    letters = RedisDeadLetters(store_of(settings), {section.app_id for section in settings.apps.values()})
    for letter in letters.recent(count, app):
        click.echo(to_json(letter))


def _device_line(device: Device) -> str:
    shown = {
        "app": device.app, "account": device.account, "device_id": device.device_id, "platform": device.platform,
        "push_token": fingerprint(device.push_token), "environment": device.environment,
        "registered_at": device.registered_at.isoformat(timespec="seconds"), "resource": device.resource,
        "locale": device.locale, "trouble": device.trouble,
    }  # fmt: skip
    return json.dumps({name: value for name, value in shown.items() if value}, ensure_ascii=False)
