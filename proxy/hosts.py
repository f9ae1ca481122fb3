"""The Host header of requests for the operator alone."""

import re
from collections.abc import Container
from ipaddress import ip_address

_HOST = re.compile(r"(?:\[([^\]]+)\]|([^:]+))(?::[0-9]+)?")  # RFC 9110, 7.2: an address of IPv6 has brackets


def is_known_host(host: str | None, named: Container[str]) -> bool:
    """May a request with this Host header see what is the operator's? An IP address, localhost, or one of `named`.

    A page of the internet whose name's address was changed to ours ("DNS rebinding") shows its own name here.
    """
    if host is None:  # HTTP/1.0; no browser sends that
        return True
    found = _HOST.fullmatch(host.lower())
    if found is None:
        return False
    in_brackets, name = found.groups()
    return _is_address(in_brackets or name) or name == "localhost" or (name is not None and name in named)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
