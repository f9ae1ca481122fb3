"""Do the developer's own servers take what a worker sends? The sender is asked with an event that is about no phone,
the server of names about an account that does not exist."""

import asyncio
import secrets
import time
from datetime import datetime

from proxy.channels.factory import TransportFactory
from proxy.channels.http.wire import HttpWire
from proxy.channels.transfer import Limits
from proxy.channels.webhooks.wire import WebhookWire
from proxy.check_config.addresses import TIMEOUT_S, host_of
from proxy.check_config.finding import Finding
from proxy.domain.profiles import Question
from proxy.domain.transfers import Request, Response, TransportFailure
from proxy.profiles.wire import ProfileWire
from proxy.settings import HttpSettings, ProfileSettings, WebhookSettings

_NO_PHONE = "an alert for a phone"


def ask_http(place: str, http: HttpSettings, now: datetime) -> Finding:
    """One signed event of the type "check", sent as a worker sends alerts."""
    host, place = host_of(http.url.get_secret_value()), f"{place}.url"
    answer = asyncio.run(_send_check(http, now))
    if isinstance(answer, TransportFailure):
        return Finding("fault", place, f"{host} was not reached: {answer.reason}")
    match answer.status:
        case status if 200 <= status < 300:
            return Finding("ok", place, f'{host} accepts a signed event of the type "check"', _NO_PHONE)
        case 401 | 403:
            return Finding("fault", place, f"{host} refuses the signature, HTTP {answer.status}: see secret")
        case status if 300 <= status < 500 and status not in {400, 408, 413, 422, 425, 429}:
            return Finding("fault", place, f"{host} answers HTTP {status}, which would pause the lane")
        case status:
            text = f'{host} answers HTTP {status} to an event of the type "check", which asks for 2xx'
            return Finding("warning", place, text, _NO_PHONE)


def ask_profiles(place: str, profiles: ProfileSettings, now: datetime) -> Finding:
    """One signed question, sent as a worker sends it."""
    host, place = host_of(profiles.url.get_secret_value()), f"{place}.url"
    wire, question = ProfileWire(profiles), Question("check-config")
    answer = asyncio.run(_ask(profiles, wire.build(question, secrets.token_hex(16), now)))
    if isinstance(answer, TransportFailure):
        limit = f"{profiles.timeout.total_seconds():g} s"
        return Finding("fault", place, f"{host} was not reached, or did not answer in {limit}: {answer.reason}")
    if answer.status in {401, 403}:
        return Finding("fault", place, f"{host} refuses the signature, HTTP {answer.status}: see secret")
    if wire.read(question, answer) is None:
        return Finding("fault", place, f"{host} answers HTTP {answer.status} without names: see docs/profiles.md")
    return Finding("ok", place, f"{host} accepts a signed question", "a name")


def ask_webhook(place: str, webhook: WebhookSettings, now: datetime) -> Finding:
    """One signed event of the type "check", sent as a worker sends callbacks."""
    host, place = host_of(webhook.url.get_secret_value()), f"{place}.url"
    answer = asyncio.run(_send_to_webhook(webhook, now))
    if isinstance(answer, TransportFailure):
        return Finding("fault", place, f"{host} was not reached: {answer.reason}")
    if 200 <= answer.status < 300:
        return Finding("ok", place, f'{host} accepts a signed event of the type "check"', "a callback")
    if answer.status in {401, 403}:
        return Finding("fault", place, f"{host} refuses the signature, HTTP {answer.status}: see secret")
    text = f'{host} answers HTTP {answer.status} to an event of the type "check", which asks for 2xx'
    return Finding("fault" if 300 <= answer.status < 400 or answer.status == 410 else "warning", place, text)


async def _send_to_webhook(webhook: WebhookSettings, now: datetime) -> Response | TransportFailure:
    transports = TransportFactory(Limits(push_timeout_s=TIMEOUT_S, connect_timeout_s=TIMEOUT_S), lambda _event: None)
    try:
        transport = transports.webhook(webhook)
        await transport.reserve(1)
        request = WebhookWire(webhook).build_check(f"check-{secrets.token_hex(8)}", now)
        return await transport.send(request, time.monotonic() + TIMEOUT_S)
    finally:
        await transports.aclose()


async def _ask(profiles: ProfileSettings, request: Request) -> Response | TransportFailure:
    transports = TransportFactory(Limits(), lambda _event: None)
    try:
        transport = transports.profiles(profiles)
        await transport.reserve(1)
        return await transport.send(request, time.monotonic() + TIMEOUT_S)
    finally:
        await transports.aclose()


async def _send_check(http: HttpSettings, now: datetime) -> Response | TransportFailure:
    transports = TransportFactory(Limits(push_timeout_s=TIMEOUT_S, connect_timeout_s=TIMEOUT_S), lambda _event: None)
    try:
        transport = transports.http(http)
        await transport.reserve(1)
        request = HttpWire(http).build_check(f"check-{secrets.token_hex(8)}", now)
        return await transport.send(request, time.monotonic() + TIMEOUT_S)
    finally:
        await transports.aclose()
