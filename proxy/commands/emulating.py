"""`app-proxy emulate`: one stand-in, alone."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from proxy.configuration import fault_lines
from proxy.emulators.apns import ApnsConfig, serve_apns
from proxy.emulators.http import SenderConfig, serve_sender
from proxy.emulators.mimc import MimcConfig, serve_mimc
from proxy.emulators.mipush import MipushConfig, serve_mipush
from proxy.errors import BadSettings, ProxyError
from proxy.package_data import EMULATORS
from proxy.settings import Section

_Config = TypeVar("_Config", bound=Section)


@click.command()
@click.argument("name", type=click.Choice(["mimc", "apns", "mipush", "http"]))
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=EMULATORS,
    help="A TOML file with a section for each emulator. Default: that of `app-proxy run`.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="Where the file's relative paths start. Default: the folder of --config; without one .state.",
)
@click.option("--port", type=click.IntRange(0, 65535), help="Instead of the section's; 0 takes free ones.")
@click.option("--control-port", type=click.IntRange(0, 65535), help="apns: where faults and journal are, over http.")
@click.option("--callback-url", help="mimc: where the only app's callbacks go.")
def emulate(
    name: str, config: Path, state: Path | None, port: int | None, control_port: int | None, callback_url: str | None
) -> None:
    """Serve one emulator until Ctrl-C or SIGTERM.

    Once it takes requests it prints one line of JSON with its port (and what a client must know, like ca_file). It
    refuses what the real service refuses; faults are ordered at /_emulator/faults, what came in is read at
    /_emulator/journal.
    """
    section = _emulator_section(config, name)
    folder = state or (Path(".state") if config == EMULATORS else config.parent)
    if port is not None:
        section["port"] = port
        if port == 0 and "control_port" in section:
            section["control_port"] = 0
    if control_port is not None:
        section["control_port"] = control_port
    if callback_url is not None:
        section["apps"] = [{**app, "callback_url": callback_url} for app in section.get("apps", [])]
    try:
        match name:
            case "mimc":
                serve_mimc(_checked(MimcConfig, name, section, folder), _announce)
            case "apns":
                serve_apns(_checked(ApnsConfig, name, section, folder), _announce)
            case "mipush":
                serve_mipush(_checked(MipushConfig, name, section, folder), _announce)
            case "http":
                serve_sender(_checked(SenderConfig, name, section, folder), _announce)
    except OSError as error:
        raise ProxyError(f"the {name} emulator cannot serve: {error.strerror or type(error).__name__}") from error


def _emulator_section(path: Path, name: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error if isinstance(error, tomllib.TOMLDecodeError) else type(error).__name__
        raise BadSettings([f"cannot read {path}: {reason}"]) from None
    section = document.get(name)
    if not isinstance(section, dict):
        raise BadSettings([f"{path} has no section [{name}]"])
    return section


def _checked(kind: type[_Config], name: str, section: Mapping[str, Any], folder: Path) -> _Config:
    """The settings of one emulator; relative paths in them start at `folder`."""
    try:
        return kind.model_validate(section, context={"folder": folder})
    except ValidationError as error:
        raise BadSettings([f"{name}.{line}" for line in fault_lines(error, kind, {})]) from None


def _announce(facts: Mapping[str, Any]) -> None:
    click.echo(json.dumps(facts))  # echo flushes, so the reader of the line gets it at once
