"""`app-proxy emulate`: one stand-in, alone."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from proxy.emulators.apns import ApnsConfig, serve_apns
from proxy.emulators.mimc import MimcConfig, serve_mimc
from proxy.emulators.mipush import MipushConfig, serve_mipush
from proxy.errors import BadSettings, ProxyError


@click.command()
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
