"""Which of gunicorn's listeners took a request, and for which hosts the operator's answers."""

from collections.abc import Container
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

ON_OPERATOR = "proxy.on_operator"  # in the environ, by our server; no header can set it

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

    def took(self, environ: dict[str, Any]) -> bool:
        """True for a connection that was accepted here.

        By the connection's own socket where the server shows it: on a unix socket gunicorn makes SERVER_NAME and
        SERVER_PORT from the Host header, which is the caller's.
        """
        connection = environ.get("gunicorn.socket")
        if connection is not None:
            return self.is_at(connection.getsockname())
        return self.is_at((environ["SERVER_NAME"], int(environ["SERVER_PORT"])))

    def is_at(self, address: Any) -> bool:
        """Does a socket with this name belong to it?"""
        if not isinstance(address, tuple):
            return self.port == 0 and address == self.host
        host, port = address[:2]
        if port != self.port:
            return False
        return self.host in _ANY or host == self.host or (self.host == "localhost" and host in _LOCAL)


def is_known_host(host: str | None, named: Container[str]) -> bool:
    """May a request with this Host header see what is the operator's? An IP address, localhost, or one of `named`.

    A page of the internet whose name's address was changed to ours ("DNS rebinding") shows its own name here.
    """
    if host is None:  # HTTP/1.0; no browser sends that
        return True
    name = host.lower()
    if name.startswith("["):
        name, bracket, port = name[1:].partition("]")
        if not bracket or (port and not _is_port(port)):
            return False
        return _is_address(name)
    name, colon, port = name.partition(":")
    if colon and not _is_port(":" + port):
        return False
    return name == "localhost" or _is_address(name) or name in named


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isascii() and text[1:].isdigit()


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
