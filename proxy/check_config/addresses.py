"""How long a service is waited for, and how it is named."""

from urllib.parse import urlsplit

TIMEOUT_S = 5.0


def host_of(url: str) -> str:
    address = urlsplit(url)
    return f"{address.hostname}:{address.port}" if address.port else str(address.hostname)
