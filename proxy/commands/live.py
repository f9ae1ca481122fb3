"""`app-proxy live-check`."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from proxy import __version__
from proxy.check_config.live import (
    CALLBACK_FIELDS,
    CHECKS,
    FIRST_STREAMS,
    REPEATED_ID,
    TOKEN_FIELDS,
    UNKNOWN_ACCOUNT,
    Result,
    count_first_streams,
    is_live,
    look_at_callbacks,
    look_at_token,
    not_run,
    push_to_unknown_account,
    repeat_one_push,
)
from proxy.commands import as_json, config_option, store_of
from proxy.configuration import load_settings
from proxy.domain.devices import Device, Platform
from proxy.files import replace_file
from proxy.settings import AppSettings, Settings
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.wiring.common import app_ids_of

_NUMBERS = click.Choice([str(check.number) for check in CHECKS])
_PHONE = click.IntRange(0, 9)


@click.command("live-check")
@config_option
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the results there, as JSON.")
@click.option("--check", "numbers", multiple=True, type=_NUMBERS, help="Only this one; may come several times.")
@click.option(
    "--callbacks", type=click.Path(dir_okay=False, path_type=Path), help="1: bodies of MIMC's callbacks, one a line."
)
@click.option("--account", default="", help="2 and 4: an account of yours; MIMC makes one that it does not know.")
@click.option("--device", default="", help="4: the device_id of an iPhone of that account; it gets an alert.")
@click.option("--shown", type=_PHONE, help="4: how many alerts the phone showed; asked for where it is not given.")
def live_check(
    config: Path | None,
    report: Path | None,
    numbers: tuple[str, ...],
    callbacks: Path | None,
    account: str,
    device: str,
    shown: int | None,
) -> None:
    """Ask MIMC, Apple and Xiaomi what only they can tell, and what no document settles.

    Each question has a number, what is presumed, and an outcome: confirmed, differs, or not run and why
    (docs/live.md). Apple is asked with a push to a device that cannot exist, Xiaomi with one to an account that no
    phone has set; a phone gets an alert with --device alone. The report holds types, codes and counts: no key, token,
    account or text. Attach it to an issue.
    """
    settings = load_settings(config)

    def seen_by_a_person() -> int:
        if shown is not None:
            return shown
        answer: int = click.prompt("How many alerts does the phone show?", type=_PHONE)
        return answer

    wanted = set(map(int, numbers)) or {check.number for check in CHECKS}
    results = list[Result]()
    if CALLBACK_FIELDS.number in wanted:
        results.append(
            look_at_callbacks(_lines(callbacks)) if callbacks else not_run(CALLBACK_FIELDS, "no --callbacks")
        )
    for name, app in settings.apps.items():
        results += _of_app(settings, name, app, wanted, account, device, seen_by_a_person)
    for result in results:
        told = f": {result.why}" if result.why else ""
        place = f" [{result.app}]" if result.app else ""
        whose = "; not asked of the live service" if _elsewhere(settings, result) else ""
        click.echo(f"{result.check.number}  {result.outcome:<10} {result.check.name}{place}{told}{whose}")
    if report:
        replace_file(report, as_json(_facts(settings, results)).encode() + b"\n")
        click.echo(f"written: {report}")


def _lines(path: Path) -> list[bytes]:
    try:
        return [line for line in path.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise click.BadParameter(f"cannot read it: {type(error).__name__}", param_hint="--callbacks") from None


def _of_app(
    settings: Settings,
    name: str,
    app: AppSettings,
    wanted: set[int],
    account: str,
    device_id: str,
    shown: Callable[[], int],
) -> Iterator[Result]:
    now, store = datetime.now(UTC), store_of(settings)
    if TOKEN_FIELDS.number in wanted:
        yield look_at_token(name, app, account) if account else not_run(TOKEN_FIELDS, "no --account", name)
    if app.apns and FIRST_STREAMS.number in wanted:
        yield count_first_streams(name, app.apns, store, now)
    if app.apns and REPEATED_ID.number in wanted:
        device = _iphone(settings, name, account, device_id)
        if device:
            yield repeat_one_push(name, app.apns, device, store, now, shown)
        else:
            yield not_run(REPEATED_ID, "no --account and --device of a registered iPhone", name)
    if app.mipush and UNKNOWN_ACCOUNT.number in wanted:
        yield push_to_unknown_account(name, app.mipush, now)


def _iphone(settings: Settings, name: str, account: str, device_id: str) -> Device | None:
    if not (account and device_id):
        return None
    devices = RedisDeviceRegistry(store_of(settings), app_ids_of(settings)).devices_of(name, account)
    return next((it for it in devices if it.device_id == device_id and it.platform is Platform.APNS), None)


def _elsewhere(settings: Settings, result: Result) -> bool:
    asked = result.app and result.outcome != "not run"
    return bool(asked) and not is_live(result.check, settings.apps[result.app])


def _facts(settings: Settings, results: list[Result]) -> dict[str, object]:
    """Sections are numbered: their names are the operator's."""
    names = list(dict.fromkeys(it.app for it in results if it.app))
    return {
        "version": __version__,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "checks": [
            {
                "number": it.check.number, "name": it.check.name, "presumed": it.check.presumed, "outcome": it.outcome,
                "seen": dict(it.seen),
                **({"elsewhere": True} if _elsewhere(settings, it) else {}),
                **({"why": it.why} if it.why else {}), **({"app": names.index(it.app) + 1} if it.app else {}),
            }
            for it in results
        ],
    }  # fmt: skip
