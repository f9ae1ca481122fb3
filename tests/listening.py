"""Whether a port on this machine has a listener."""

import socket


def listens(host: str, port: int, timeout_seconds: float = 1) -> bool:
    """A process accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=timeout_seconds).close()
    except OSError:
        return False
    return True
