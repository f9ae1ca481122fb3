"""`app-proxy check-config` and `app-proxy doctor`."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from proxy.check_config import (
    Finding,
    advice_for,
    ask_clocks,
    ask_services,
    inspect_ages,
    inspect_environment,
    inspect_files,
)
from proxy.commands import as_json, config_option
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


@click.command("doctor")
@config_option
@click.option("--account", default="", help="Ask MIMC for this account's token; it makes a user that it does not know.")
@click.option("--json", "in_json", is_flag=True, help="One JSON object.")
@click.pass_context
def doctor(ctx: click.Context, config: Path | None, account: str, in_json: bool) -> None:
    """Look at the whole installation, and say what to do.

    What check-config asks (settings, files, store, one question to each provider), and besides: the Python
    environment, whether the clocks agree, how old keys are, when certificates end. No phone gets an alert. Exit code
    2: the settings are wrong; 1: something is at fault; 0: nothing is (warnings are risks that you may take).
    """
    findings, shown = list[Finding](), _kept if in_json else _told
    findings += shown(inspect_environment())
    settings = load_settings(config)
    if not in_json:
        _summarise(settings)
    for some in (inspect_files(settings), ask_services(settings, account), ask_clocks(settings),
                 inspect_ages(settings, datetime.now(UTC))):  # fmt: skip
        findings += shown(some)
    if in_json:
        click.echo(as_json({"findings": [_as_facts(finding) for finding in findings]}))
    else:
        click.echo("\n" + "\n".join(_to_do(findings)))
    if any(finding.verdict == "fault" for finding in findings):
        ctx.exit(1)


def _to_do(findings: Sequence[Finding]) -> Iterator[str]:
    """What is at fault first, then what may be let be."""
    faults = [finding for finding in findings if finding.verdict == "fault"]
    risks = [finding for finding in findings if finding.verdict == "warning"]
    for headline, some in (("What to do:", faults), ("Risks that you may take, and how to end them:", risks)):
        if some:
            yield headline
            yield from (f"  {it.place}: {advice_for(it) or it.text}" for it in some)
    if not faults:
        yield "Nothing is at fault."


def _as_facts(finding: Finding) -> dict[str, str]:
    facts = {"verdict": finding.verdict, "place": finding.place, "text": finding.text, "untried": finding.untried}
    return {name: text for name, text in (facts | {"to_do": _advice(finding)}).items() if text}


def _advice(finding: Finding) -> str:
    return "" if finding.verdict == "ok" else advice_for(finding)


def _kept(findings: Iterator[Finding]) -> Iterator[Finding]:
    return findings


def _summarise(settings: Settings) -> None:
    for name, app in settings.apps.items():
        alerts = f"alerts through {' and '.join(app.channels)}" if app.channels else "tokens only, no alerts"
        click.echo(f"{_MARKS['ok']}apps.{name}: appId {app.app_id}, {alerts}")


def _told(findings: Iterator[Finding]) -> Iterator[Finding]:
    """The same findings, each shown when it is there: an answer may take seconds."""
    for finding in findings:
        show(finding)
        yield finding


def show(finding: Finding) -> None:
    untried = f"; not tried: {finding.untried}" if finding.untried else ""
    click.echo(f"{_MARKS[finding.verdict]}{finding.place}: {finding.text}{untried}")
