"""Which addresses a request to somebody else's server may reach."""

from ipaddress import ip_network

import pytest

from proxy.public_addresses import AddressGuard

INSIDE = [
    "127.0.0.1", "127.8.0.1", "::1", "0.0.0.0", "::", "10.0.0.1", "172.16.0.1", "192.168.1.1", "fd00::1",  # noqa: S104
    "169.254.169.254", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200",  # where clouds keep their metadata
    "224.0.0.1", "ff02::1", "240.0.0.1", "255.255.255.255", "fec0::1", "::7f00:1",
    # the same inside an address of IPv6: mapped, NAT64, 6to4
    "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:a00:1::",
    "", "localhost", "1.2.3", "0x7f000001",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_not_public_is_not_reached(address: str) -> None:
    assert not AddressGuard().allows(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_what_is_public_is_reached(address: str) -> None:
    assert AddressGuard().allows(address)


def test_this_machine_is_reached_only_where_it_is_meant() -> None:
    guard = AddressGuard(loopback=True)
    assert all(map(guard.allows, ["127.0.0.1", "::1", "::ffff:127.0.0.1"]))
    assert not any(map(guard.allows, ["10.0.0.1", "169.254.169.254", "fe80::1"]))


def test_a_network_that_is_named_is_reached_and_its_neighbours_are_not() -> None:
    guard = AddressGuard((ip_network("10.1.0.0/16"), ip_network("fd00:1::/32")))
    assert all(map(guard.allows, ["10.1.2.3", "::ffff:10.1.2.3", "fd00:1::5", "8.8.8.8"]))
    assert not any(map(guard.allows, ["10.2.0.1", "fd00:2::5", "127.0.0.1", "169.254.169.254"]))
