"""Which lanes share a transport: libcurl shares connections by host, and APNs wants one for each team and key."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from proxy.channels.factory import TransportFactory
from proxy.channels.transfer import Limits
from proxy.domain.devices import ApnsEnvironment
from tests.channels.pushes import apns_settings, mipush_settings

PRODUCTION, SANDBOX = ApnsEnvironment


def in_a_factory(scene: Any) -> None:
    async def run() -> None:
        factory = TransportFactory(Limits(), lambda _: None)
        scene(factory)
        await factory.aclose()

    asyncio.run(run())


def test_sections_of_one_team_that_go_the_same_way_share_a_transport() -> None:
    def scene(factory: TransportFactory) -> None:
        first = factory.apns(apns_settings(topic="com.example.chat"), PRODUCTION)
        assert factory.apns(apns_settings(topic="com.example.other"), PRODUCTION) is first

    in_a_factory(scene)


@pytest.mark.parametrize(
    "other",
    [
        {"team_id": "TEAM000002"},
        {"key_id": "KEY0000002"},
        {"proxy": "http://proxy.example:3128"},
        {"ca_file": Path(__file__)},
        {"production_url": "https://push.example"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_section_with_another_team_key_host_proxy_or_ca_file_has_a_transport_of_its_own(other: Any) -> None:
    def scene(factory: TransportFactory) -> None:
        assert factory.apns(apns_settings(), PRODUCTION) is not factory.apns(apns_settings(**other), PRODUCTION)

    in_a_factory(scene)


def test_the_sandbox_has_a_transport_of_its_own_and_may_have_a_key_of_its_own() -> None:
    own_key = apns_settings(sandbox_key_id="KEY0000002", sandbox_key_file=Path(__file__))

    def scene(factory: TransportFactory) -> None:
        production, sandbox = (factory.apns(apns_settings(), environment) for environment in (PRODUCTION, SANDBOX))
        assert production is not sandbox
        assert factory.apns(own_key, PRODUCTION) is production
        assert factory.apns(own_key, SANDBOX) is not sandbox

    in_a_factory(scene)


def test_each_section_of_mi_push_has_connections_of_its_own() -> None:
    def scene(factory: TransportFactory) -> None:
        assert factory.mipush(mipush_settings()) is not factory.mipush(mipush_settings())

    in_a_factory(scene)
