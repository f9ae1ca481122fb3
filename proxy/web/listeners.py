"""Which of gunicorn's listeners took a request."""

from dataclasses import dataclass
from typing import Any

# In the environ, by our server, which knows from the connection: on a unix socket gunicorn makes SERVER_NAME and
# SERVER_PORT from the Host header, which is the caller's. No header can set it.
ON_OPERATOR = "proxy.on_operator"

_ANY = ("", "0.0.0.0", "::")  # noqa: S104, read from the settings, not bound  # nosec B104
_LOCAL = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Listener:
    """An address of the settings: host and port, or the path of a unix socket with port 0."""

    host: str
    port: int

    @classmethod
    def parse(cls, bind: str) -> "Listener":
        """From "host:port", "[v6]:port" or "unix:path"."""
        if bind.startswith("unix:"):
            return cls(bind.removeprefix("unix:"), 0)
        host, _, port = bind.rpartition(":")
        return cls(host.strip("[]"), int(port))

    def is_at(self, address: Any) -> bool:
        """Does a socket with this name belong to it?"""
        if not isinstance(address, tuple):
            return self.port == 0 and address == self.host
        host, port = address[:2]
        if port != self.port:
            return False
        return self.host in _ANY or host == self.host or (self.host == "localhost" and host in _LOCAL)
