"""TCP ports on this machine: one that is free, and a clear word about one that is not."""

import errno
import random
import socket

from proxy.errors import ProxyError


class PortTaken(ProxyError):
    """Another process listens where we should."""

    def __init__(self, host: str, port: int, setting: str) -> None:
        super().__init__(f"port {port} on {host} is taken by another process: stop it, or set {setting} to a free port")


def free_port(host: str = "127.0.0.1") -> int:
    """A port on which no process listens now, below those that the system gives to outgoing connections: one of these
    could be quicker than its user. Another process may still take it before you do.
    """
    while port_taken(host, port := random.randrange(10_000, 32_000)):  # noqa: S311  no secret
        pass
    return port


def port_taken(host: str, port: int) -> bool:
    """No other process could listen there now. Raises OSError where the address is not ours or not allowed."""
    try:
        # create_server sets SO_REUSEADDR, so that connections of a server that just ended do not count.
        socket.create_server((host, port), family=_family(host)).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return True
    return False


def require_free(host: str, port: int, setting: str) -> None:
    """Raises PortTaken, which names the `setting` to change, when the port is taken."""
    if port_taken(host, port):
        raise PortTaken(host, port, setting)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
