"""The client's address of a request, also when it came through proxies."""

from collections.abc import Sequence
from functools import cache, lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

import structlog

from proxy.settings.fields import Network
from proxy.web import current_notes, current_request, current_services

log = structlog.get_logger()

UNIX_PEER = "unix"  # a connection over a socket of this machine has no address
_IPV6_PREFIX = 64  # what one customer gets; within it they can make up any address


def client_address() -> str:
    """The current request's: an IP address in its shortest form, or "unix"."""
    notes = current_notes()
    address: str | None = notes.get("client_address")
    if address is None:
        environ, trusted = current_request().environ, current_services().settings.limits.trusted_proxies
        address = find_client(environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR"), trusted)
        notes.client_address = address
    return address


def find_client(peer: str, forwarded_for: str | None, trusted: Sequence[Network | str]) -> str:
    """The peer of the connection, unless it is a named proxy: then the right-most in X-Forwarded-For that is none.

    Each proxy appends its peer's address; what is left of the first unnamed address may be made up by that client.
    Where a proxy appended no address, its own counts for all of its clients.
    """
    address = peer_address(peer)
    if forwarded_for is None:
        return address
    if not is_within(address, trusted):
        _tell_once_of_a_nameless_proxy(address)
        return address
    for said in reversed(forwarded_for.split(",")):
        before = _normal(said)
        if before is None:
            return address
        address = before
        if not is_within(address, trusted):
            return address
    return address


def peer_address(peer: str) -> str:
    """The other end of a connection: an IP address in its shortest form, or "unix"."""
    return _normal(peer) or UNIX_PEER


def network_of(address: str) -> str:
    """What a limit by address counts as one client: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in address:
        return address
    return str(IPv6Network((address, _IPV6_PREFIX), strict=False))


@lru_cache(maxsize=1024)  # Python reads an address in 10 us, and a request names its own again and again
def _normal(text: str) -> str | None:
    """An address as one text, without port and zone; IPv4 that is mapped into IPv6 is IPv4. None: it is no address."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return str((address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address)


def is_within(address: str, networks: Sequence[Network | str]) -> bool:
    """Whether an address, as `client_address` gives it, is in one of these networks."""
    if address == UNIX_PEER:
        return UNIX_PEER in networks
    parsed = ip_address(address)
    return any(parsed in network for network in networks if not isinstance(network, str))


def _tell_once_of_a_nameless_proxy(address: str) -> None:
    """Behind a proxy that the settings do not name all clients share its one limit; the operator must know why."""
    if address == UNIX_PEER or ip_address(address).is_private:
        _tell_of_nameless_proxies()


@cache
def _tell_of_nameless_proxies() -> None:
    log.warning("X-Forwarded-For is not believed: its sender is not in limits.trusted_proxies, where all share a limit")
