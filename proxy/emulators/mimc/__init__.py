"""An emulated MIMC: token service and message callbacks. It refuses what the real one refuses."""

from proxy.emulators.mimc.config import MimcApp, MimcConfig
from proxy.emulators.mimc.routes import mimc_app
from proxy.emulators.mimc.service import Mimc
from proxy.emulators.server import Announce, serve

__all__ = ["Mimc", "MimcApp", "MimcConfig", "mimc_app", "serve_mimc"]


def serve_mimc(config: MimcConfig, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT. `announce` is called once, when requests are taken, with the address."""
    mimc = Mimc(config)
    try:
        serve("mimc", mimc_app(mimc), config, announce)
    finally:
        mimc.webhooks.close()
