"""Running one emulator as a program of its own."""

import json
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Announce = Callable[[Mapping[str, Any]], None]


def run(serve: Callable[[Mapping[str, Any], Announce], None]) -> None:
    """Serve with the settings of the TOML file that is the only argument; exit with 2 if they are no good."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m proxy.emulators.NAME CONFIG.toml")
    try:
        with Path(sys.argv[1]).open("rb") as file:
            values = tomllib.load(file)
        serve(values, lambda facts: print(json.dumps(facts), flush=True))  # noqa: T201  what the caller waits for
    except ValueError as error:  # BadSettings, or no TOML
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(2)
