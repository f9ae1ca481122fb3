"""`app-proxy check-config`."""

from collections.abc import Iterator
from pathlib import Path

import click

from proxy.check_config import Finding, ask_services, inspect_files
from proxy.commands import config_option
from proxy.configuration import load_settings
from proxy.settings import Settings

_MARKS = {"ok": "ok      ", "warning": "warning ", "fault": "FAULT   "}


@click.command("check-config")
@config_option
@click.option("--offline", is_flag=True, help="Ask no service: read only the file, the environment and the key files.")
@click.option("--account", default="", help="Ask MIMC for this account's token; it makes a user that it does not know.")
@click.pass_context
def check_config(ctx: click.Context, config: Path | None, offline: bool, account: str) -> None:
    """Tell all faults of the settings, then ask the services.

    No phone gets an alert. Apple is asked for a device that cannot exist, Xiaomi without a message, your own
    sender with an event of the type "check", and MIMC for a token only where --account or check_account names an
    account. Each line says what was not tried. Exit code 2: the
    settings are wrong; 1: a service does not answer or refuses us; 0: fit for service (warnings are risks that you may
    take).
    """
    settings = load_settings(config)
    _summarise(settings)
    findings = list(_told(inspect_files(settings)))
    if offline:
        click.echo("offline: the store and the services were not asked")
    else:
        findings += _told(ask_services(settings, account))
    if any(finding.verdict == "fault" for finding in findings):
        ctx.exit(1)


def _summarise(settings: Settings) -> None:
    for name, app in settings.apps.items():
        alerts = f"alerts through {' and '.join(app.channels)}" if app.channels else "tokens only, no alerts"
        click.echo(f"{_MARKS['ok']}apps.{name}: appId {app.app_id}, {alerts}")


def _told(findings: Iterator[Finding]) -> Iterator[Finding]:
    """The same findings, each shown when it is there: an answer may take seconds."""
    for finding in findings:
        untried = f"; not tried: {finding.untried}" if finding.untried else ""
        click.echo(f"{_MARKS[finding.verdict]}{finding.place}: {finding.text}{untried}")
        yield finding
