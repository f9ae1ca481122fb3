"""Where the guarded transport connects to: the address is looked at when the connection is made."""

import asyncio
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network

import pytest

from proxy.channels.factory import TransportFactory
from proxy.channels.http1 import Http1Transport
from proxy.channels.transfer import Limits
from proxy.curl import Route
from proxy.domain.transfers import FailureKind, Request, Response, TransportFailure
from proxy.public_addresses import AddressGuard
from proxy.settings import WebhookSettings
from tests.channels.pushes import WEBHOOK_SECRET, http_settings
from tests.channels.test_http1 import Provider, serving

LIMITS = Limits(push_timeout_s=5.0, connect_timeout_s=5.0)
FORBIDDEN = TransportFailure("address not allowed", FailureKind.UNREACHABLE)


def sent(url: str, guard: AddressGuard | None, *, plain: bool = True) -> Response | TransportFailure:
    async def run() -> Response | TransportFailure:
        transport = Http1Transport(Route(guard=guard, plain=plain), LIMITS, 2, lambda _: None)
        try:
            await transport.reserve(1)
            return await transport.send(Request(url, ("accept:",), b"{}"), math.inf)
        finally:
            await transport.aclose()

    return asyncio.run(run())


@contextmanager
def listening() -> Iterator[tuple[str, socket.socket]]:
    """A listener whose connections are counted by what it can accept."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield f"http://localhost:{listener.getsockname()[1]}/", listener


def test_a_name_that_leads_to_a_private_address_is_not_even_connected_to() -> None:
    """`localhost` stands for any name that the world may point at our own machines."""
    with listening() as (url, listener):
        assert sent(url, AddressGuard()) == FORBIDDEN
        assert sent(url, AddressGuard((ip_network("10.0.0.0/8"),))) == FORBIDDEN
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("guard", [None, AddressGuard(loopback=True), AddressGuard((ip_network("127.0.0.0/8"),))])
def test_what_is_allowed_is_reached(guard: AddressGuard | None) -> None:
    with serving(Provider()) as provider:
        answer = sent(f"{provider.origin}/ok", guard)
        assert isinstance(answer, Response)
        assert answer.body == b"ok"


def test_a_kept_connection_is_used_again_and_a_refusal_says_so_each_time() -> None:
    async def run() -> None:
        transport = Http1Transport(Route(guard=AddressGuard(), plain=True), LIMITS, 1, lambda _: None)
        for _ in range(3):
            await transport.reserve(1)
            assert await transport.send(Request(provider.origin + "/ok", ("accept:",), b"{}"), math.inf) == FORBIDDEN
        await transport.aclose()

    with serving(Provider()) as provider:
        asyncio.run(run())
        assert not provider.bodies


def test_plain_http_leaves_this_machine_only_where_that_is_allowed() -> None:
    url = "http://203.0.113.1/"  # TEST-NET-3, which is not public: were it tried, it would time out
    assert sent(url, AddressGuard(), plain=False) == TransportFailure(
        "address of a forbidden kind", FailureKind.UNREACHABLE
    )
    assert sent(url, AddressGuard()) == FORBIDDEN


def test_a_section_has_a_transport_of_its_own_that_obeys_no_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def run(url: str) -> Response | TransportFailure:
        factory = TransportFactory(LIMITS, lambda _: None)
        try:
            transport = factory.http(http_settings(url=url))
            assert factory.http(http_settings(url=url)) is not transport
            await transport.reserve(1)
            return await transport.send(Request(url, ("accept:",), b"{}"), math.inf)
        finally:
            await factory.aclose()

    with serving(Provider()) as provider:
        assert isinstance(asyncio.run(run(f"{provider.origin}/ok")), Response)


def test_a_webhook_is_never_led_to_this_machine_by_a_name_that_does_not_say_so() -> None:
    """The guard of its section is that of its transport; `localhost` in the request stands for such a name."""

    async def run(url: str) -> Response | TransportFailure:
        factory = TransportFactory(LIMITS, lambda _: None)
        webhook = {"name": "crm", "app": "main", "url": "http://crm.example.com/", "secret": WEBHOOK_SECRET}
        try:
            transport = factory.webhook(WebhookSettings.model_validate({**webhook, "allow_plain": True}))
            await transport.reserve(1)
            return await transport.send(Request(url, ("accept:",), b"{}"), math.inf)
        finally:
            await factory.aclose()

    with listening() as (url, listener):
        assert asyncio.run(run(url)) == FORBIDDEN
        with pytest.raises(BlockingIOError):
            listener.accept()
