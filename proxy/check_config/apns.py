"""Does Apple take the key and the topic? Asked with a push to a device that cannot exist, as a worker would send it."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from proxy.channels.apns.provider_token import fresh_enough, read_issued_at, sign_provider_token
from proxy.channels.apns.wire import ApnsWire
from proxy.channels.factory import TransportFactory
from proxy.channels.transfer import Limits
from proxy.check_config.addresses import TIMEOUT_S, host_of
from proxy.check_config.finding import Finding
from proxy.domain.alerts import Alert, AlertText, Order
from proxy.domain.callbacks import digest
from proxy.domain.devices import ApnsEnvironment, Device, Platform
from proxy.domain.jobs import Job, Push
from proxy.domain.outcomes import CredentialsExpired, Misaddressed, OurFault, Outcome
from proxy.domain.transfers import Response, TransportFailure
from proxy.errors import BadSettings, StoreUnavailable
from proxy.settings import ApnsSettings
from proxy.store import keys
from proxy.store.connection import Store

_IMPOSSIBLE = "f" * 64  # well formed: Apple looks at key and topic, then for a device that there is not
# what Apple's refusals say about the settings; BadDeviceToken is what an impossible device deserves
_MEANING = {
    "InvalidProviderToken": "team_id, key_id and key_file do not belong together, or the key was revoked",
    "BadEnvironmentKeyIdInToken": "the key is not for this environment: see sandbox_key_file, or sandbox = false",
    "TopicDisallowed": "the key may not push to this topic",
    "BadTopic": "this topic is none of the team's apps",
}
_TOO_MANY = "TooManyProviderTokenUpdates"  # each question makes one where the store, and with it the workers', is away


def ask_apns(place: str, apns: ApnsSettings, store: Store, now: Callable[[], datetime]) -> Iterator[Finding]:
    for environment in ApnsEnvironment if apns.sandbox else (ApnsEnvironment.PRODUCTION,):
        key = f"{environment}_url"
        url: str = getattr(apns, key)
        trouble = None if apns.proxy else _shake_hands(f"{place}.{key}", url, apns.ca_file)
        yield trouble or _ask(f"{place}.{key}", apns, environment, store, now())


def _ask(place: str, apns: ApnsSettings, environment: ApnsEnvironment, store: Store, now: datetime) -> Finding:
    host = host_of(apns.sandbox_url if environment is ApnsEnvironment.SANDBOX else apns.production_url)
    try:
        authorization = authorization_of(apns, environment, store, now)
    except BadSettings:
        return Finding("fault", place, f"{host} not asked: the key signs nothing, see above")
    answer = asyncio.run(_push_to_impossible(apns, environment, authorization, now))
    match answer:
        case TransportFailure(reason):
            return Finding("fault", place, f"{host} was not reached: {reason}")
        case Misaddressed("BadDeviceToken"):
            return Finding("ok", place, f"{host} takes the key and the topic", "a push to a phone")
        case CredentialsExpired():
            text = "calls a fresh provider token expired: the store's clock is wrong, or this machine's"
            return Finding("fault", place, f"{host} {text}")
        case OurFault(reason):
            meaning = f": {_MEANING[reason]}" if reason in _MEANING else ""
            return Finding("fault", place, f"{host} answers {reason}{meaning}")
        case _:
            said = getattr(answer, "reason", "") or type(answer).__name__.lower()
            wait = ": the team made too many new provider tokens; ask again in 20 minutes" if said == _TOO_MANY else ""
            text = f"{host} answered an impossible device with {said}{wait}"
            return Finding("warning", place, text, "whether key and topic are good")


async def _push_to_impossible(
    apns: ApnsSettings, environment: ApnsEnvironment, authorization: str, now: datetime
) -> Outcome | TransportFailure:
    """What a push to a device that cannot exist comes to."""
    wire, push = ApnsWire(apns, environment), trial_push(environment, now)
    transports = TransportFactory(Limits(push_timeout_s=TIMEOUT_S, connect_timeout_s=TIMEOUT_S), lambda _event: None)
    try:
        transport = transports.apns(apns, environment)
        await transport.reserve(1)
        answer = await transport.send(wire.build([push], authorization, now), time.monotonic() + TIMEOUT_S)
    finally:
        await transports.aclose()
    return wire.read([push], answer, now)[0] if isinstance(answer, Response) else answer


def authorization_of(apns: ApnsSettings, environment: ApnsEnvironment, store: Store, now: datetime) -> str:
    """That of the workers, shared through the store: Apple counts how often a team makes a new one.

    Without a store it is for this question alone. Raises BadSettings.
    """
    key = apns.key_for(sandbox=environment is ApnsEnvironment.SANDBOX)
    key_pem = key.file.read_bytes()
    name = keys.provider_token(apns.team_id, key.id, key_pem)
    with suppress(StoreUnavailable):
        found: bytes | None = store.call(lambda redis: redis.get(name))
        if found and fresh_enough(read_issued_at(found.decode()), now):
            return f"bearer {found.decode()}"
    made = sign_provider_token(key_pem, key.id, apns.team_id, now)
    with suppress(StoreUnavailable):
        store.call(lambda redis: redis.set(name, made, ex=keys.PROVIDER_TOKEN_TTL_S))
    return f"bearer {made}"


def trial_push(environment: ApnsEnvironment, now: datetime) -> Push:
    """To a device that cannot exist."""
    alert = Alert(
        digest("check-config"), "p2p:check-config", AlertText("check-config", "no phone shows this"), Order(0, 0, 0),
        now + timedelta(minutes=1),
    )  # fmt: skip
    device = Device("check-config", "check-config", "nobody", Platform.APNS, _IMPOSSIBLE, now, environment)
    return Push(Job(device.app, device.channel, device.account, device.device_id, alert), device)


def _shake_hands(place: str, url: str, ca_file: Path | None) -> Finding | None:
    """What keeps us from talking to that host at all."""
    address = urlsplit(url)
    try:
        context = ssl.create_default_context(cafile=ca_file)
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection((address.hostname, address.port or 443), timeout=TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=address.hostname) as tls,
        ):
            chosen = tls.selected_alpn_protocol()
    except ssl.SSLCertVerificationError:
        return Finding(
            "fault", place, f"the TLS certificate of {host_of(url)} is not trusted; ca_file names authorities"
        )
    except (OSError, ValueError) as error:
        return Finding("fault", place, f"no TLS connection to {host_of(url)}: {type(error).__name__}")
    if chosen != "h2":
        return Finding("fault", place, f"{host_of(url)} does not speak HTTP/2")
    return None
