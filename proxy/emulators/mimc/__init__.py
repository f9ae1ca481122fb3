"""An emulated MIMC: the token service, and somebody who posts message callbacks. Refuses what the real one refuses."""

from collections.abc import Callable, Mapping
from typing import Any

from proxy.emulators.certificates import ensure_certificates
from proxy.emulators.mimc.config import MimcApp, MimcConfig
from proxy.emulators.mimc.service import Mimc, mimc_app
from proxy.emulators.server import serve_until_told_to_stop, threaded_server

__all__ = ["Mimc", "MimcApp", "MimcConfig", "mimc_app", "serve_mimc"]


def serve_mimc(config: MimcConfig, announce: Callable[[Mapping[str, Any]], None]) -> None:
    """Serve until SIGTERM or SIGINT. `announce` is called once, when requests are taken, with the address."""
    certificates = ensure_certificates(config.tls_folder) if config.tls_folder else None
    mimc = Mimc(config)
    try:
        tls = certificates.server_context() if certificates else None
        server = threaded_server(mimc_app(mimc), config.host, config.port, tls)
        scheme, port = "https" if tls else "http", server.server_port
        facts: dict[str, Any] = {"emulator": "mimc", "port": port, "url": f"{scheme}://{config.host}:{port}"}
        if certificates:
            facts["ca_file"] = str(certificates.ca_file)
        serve_until_told_to_stop(server, lambda: announce(facts))
    finally:
        mimc.courier.close()
