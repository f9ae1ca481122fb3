"""Which addresses a request to another organisation's server may reach: not this machine, nor a network of our own.

A name in a URL can be made to lead to the cloud's metadata service or to a database ("server-side request forgery"), so
it is the address of the connection that is looked at, and not the name.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_Address = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052; the last 32 bits are the address that is reached
# routed nowhere or inside alone, though Python calls them global: site-local, IPv4-compatible, local NAT64 (RFC 8215)
_NOT_PUBLIC = (IPv6Network("fec0::/10"), IPv6Network("::/96"), IPv6Network("64:ff9b:1::/48"))


@dataclass(frozen=True)
class AddressGuard:
    """Public addresses are allowed, those of `networks` too, and with `loopback` this machine's."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    loopback: bool = False

    def allows(self, address: str) -> bool:
        """`address` is numeric; whatever is not is refused."""
        try:
            reached = _reached(ip_address(address.partition("%")[0]))
        except ValueError:
            return False
        if any(reached in network for network in self.networks):  # of the other version: never
            return True
        return self.loopback if reached.is_loopback else _is_public(reached)


def is_address(host: str) -> bool:
    """Is it numeric, and no name?"""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _reached(address: _Address) -> _Address:
    """The IPv4 address inside one of IPv6, where there is one."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def _is_public(address: _Address) -> bool:
    return address.is_global and not address.is_multicast and not any(address in network for network in _NOT_PUBLIC)
