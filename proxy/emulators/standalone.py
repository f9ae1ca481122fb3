"""Serving one emulator until SIGTERM or SIGINT, or as a program of its own."""

import json
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flask import Flask

from proxy.emulators.certificates import ensure_certificates
from proxy.emulators.server import serve_until_told_to_stop, threaded_server

Announce = Callable[[Mapping[str, Any]], None]


def serve(name: str, app: Flask, host: str, port: int, tls_folder: Path | None, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT. `announce` is called once, when requests are taken: name, port, url, ca_file."""
    certificates = ensure_certificates(tls_folder) if tls_folder else None
    server = threaded_server(app, host, port, certificates.server_context() if certificates else None)
    scheme = "https" if certificates else "http"
    facts = {"emulator": name, "port": server.server_port, "url": f"{scheme}://{host}:{server.server_port}"}
    if certificates:
        facts["ca_file"] = str(certificates.ca_file)
    serve_until_told_to_stop(server, lambda: announce(facts))


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
