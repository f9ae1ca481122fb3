"""Whose address a call comes from."""

from ipaddress import ip_network

import pytest

from proxy.settings import LimitSettings
from proxy.web.addresses import find_client, network_of

NAMED = ("10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48", "unix")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.5", None, "203.0.113.5"),
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),  # a stranger's word about himself
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1", "198.51.100.1"),  # what the client made up is left of it
        ("10.0.0.1", "1.2.3.4, 198.51.100.1, 192.0.2.7", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1,10.9.9.9 ,\t10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),  # only proxies: the farthest
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, unknown, 10.0.0.3", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.1, <script>", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8:9::1]:4711", "2001:db8:9::1"),
        ("10.0.0.1", "2001:DB8:9:0:0:0:0:1", "2001:db8:9::1"),
        ("10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.01", "10.0.0.1"),  # octal or decimal? no address
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("2001:db8:1::1", "198.51.100.1", "198.51.100.1"),
        ("fe80::1%eth0", "198.51.100.1", "fe80::1"),
        ("", None, "unix"),
        ("", "198.51.100.1", "198.51.100.1"),
        ("", "198.51.100.1, unix", "unix"),  # "unix" is no address in a header
    ],
)
def test_the_client_is_the_last_address_that_no_named_proxy_has(
    peer: str, forwarded_for: str | None, client: str
) -> None:
    named = LimitSettings.model_validate({"trusted_proxies": NAMED}).trusted_proxies
    assert find_client(peer, forwarded_for, named) == client


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.0.0.1", "::1", ""])
def test_where_no_proxy_is_named_no_header_is_believed(peer: str) -> None:
    assert find_client(peer, "198.51.100.1", ()) == (peer or "unix")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("2001:db8:9::1", "2001:db8:9::/64"),
        ("2001:db8:9::ffff:ffff:ffff:ffff", "2001:db8:9::/64"),
        ("2001:db8:9:1::1", "2001:db8:9:1::/64"),
        ("unix", "unix"),
    ],
)
def test_an_ipv6_address_counts_as_its_64(address: str, network: str) -> None:
    assert network_of(address) == network


def test_a_proxy_is_an_address_a_network_or_unix() -> None:
    named = LimitSettings.model_validate({"trusted_proxies": ["10.0.0.1", "fd00::/8", "unix"]}).trusted_proxies
    assert named == (ip_network("10.0.0.1"), ip_network("fd00::/8"), "unix")
