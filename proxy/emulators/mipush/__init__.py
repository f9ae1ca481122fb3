"""An emulated Xiaomi push with phones that show what they get. It refuses what the real one refuses."""

from proxy.emulators.mipush.config import Channel, MipushApp, MipushConfig, Template
from proxy.emulators.mipush.routes import mipush_app
from proxy.emulators.mipush.service import Mipush
from proxy.emulators.server import Announce, serve

__all__ = ["Channel", "Mipush", "MipushApp", "MipushConfig", "Template", "mipush_app", "serve_mipush"]


def serve_mipush(config: MipushConfig, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT. `announce` is called once, when requests are taken, with the address."""
    mipush = Mipush(config)
    try:
        serve("mipush", mipush_app(mipush), config, announce)
    finally:
        mipush.webhooks.close()
