"""An emulated sender of the developer: it takes alerts signed by the Standard Webhooks scheme, and journals them."""

from proxy.emulators.http.config import SenderConfig
from proxy.emulators.http.routes import sender_app
from proxy.emulators.http.service import Sender
from proxy.emulators.server import Announce, serve

__all__ = ["Sender", "SenderConfig", "sender_app", "serve_sender"]


def serve_sender(config: SenderConfig, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT. `announce` is called once, when requests are taken, with the address."""
    serve("http", sender_app(Sender(config)), config, announce)
