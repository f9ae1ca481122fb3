"""The Host header of requests for the operator alone."""

from collections.abc import Container
from ipaddress import ip_address


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
