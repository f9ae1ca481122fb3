"""What only the real services can tell, and what no document or emulator has settled: numbered questions.

A result holds types, codes, counts and names of protocol members, and never a value that a service or a user wrote.
"""

import asyncio
import json
import re
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeVar
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.settings import SettingCodes

from proxy.channels.apns.wire import ApnsWire
from proxy.channels.factory import TransportFactory
from proxy.channels.mipush.wire import MipushWire
from proxy.channels.mipush.wire import authorization as mipush_authorization
from proxy.channels.transfer import Limits
from proxy.check_config.addresses import TIMEOUT_S
from proxy.check_config.apns import authorization_of, trial_push
from proxy.domain.callbacks import Callback, digest
from proxy.domain.devices import ApnsEnvironment, Device
from proxy.domain.jobs import Job, Push
from proxy.domain.transfers import Request, Response, TransportFailure
from proxy.errors import BadCallback, BadSettings
from proxy.mimc.client import TokenClient
from proxy.mimc.passable import Passable
from proxy.mimc.wire import parse_callback
from proxy.ports import Transport
from proxy.settings import ApnsSettings, AppSettings, MipushSettings, TokenSettings
from proxy.store.connection import Store

Outcome = Literal["confirmed", "differs", "not run"]
Seen = Mapping[str, object]
_Event = TypeVar("_Event", bound=h2.events.Event)


@dataclass(frozen=True)
class Check:
    """A question, and what we presume because of documents that no live service has confirmed."""

    number: int
    name: str
    question: str
    presumed: str


CALLBACK_FIELDS = Check(
    1,
    "callback fields",
    "Which JSON type has each member of MIMC's callbacks?",
    "ids and timestamp are numbers or texts, payload is a text in base64, accounts are texts",
)
TOKEN_FIELDS = Check(
    2,
    "token fields",
    "Which JSON type has each member of the TokenService's answer?",
    "code is the number 200; data has token and appAccount as texts",
)
FIRST_STREAMS = Check(
    3,
    "first streams",
    "How many streams does APNs allow on a new connection, before it has seen a valid token?",
    "one",
)
REPEATED_ID = Check(
    4,
    "repeated apns-id",
    "How many alerts does a phone show of one push that was sent twice, with the same apns-id and collapse id?",
    "one",
)
UNKNOWN_ACCOUNT = Check(
    5,
    "unknown account",
    "What does Mi Push answer for an account that no phone has set?",
    "code 20301, and so no alert is counted as accepted",
)
CHECKS = (CALLBACK_FIELDS, TOKEN_FIELDS, FIRST_STREAMS, REPEATED_ID, UNKNOWN_ACCOUNT)


@dataclass(frozen=True)
class Result:
    """`why`: of "not run". `app`: whose, "" for none's."""

    check: Check
    outcome: Outcome
    seen: Seen
    why: str = ""
    app: str = ""


_LIVE = (".xiaomi.net", ".xiaomi.com", ".push.apple.com")


def is_live(check: Check, app: AppSettings) -> bool:
    """Is the question put to the service itself? By the settings' address, a proxy apart; emulators confirm nothing."""
    match check.number:
        case TOKEN_FIELDS.number:
            urls = [app.base_url]
        case UNKNOWN_ACCOUNT.number:
            urls = [app.mipush.base_url] if app.mipush else []
        case FIRST_STREAMS.number:
            urls = [app.apns.production_url] if app.apns else []
        case _:
            urls = [app.apns.production_url, app.apns.sandbox_url] if app.apns else []
    return all((urlsplit(url).hostname or "").endswith(_LIVE) for url in urls)


def not_run(check: Check, why: str, app: str = "") -> Result:
    return Result(check, "not run", {}, why, app)


# types of members

_ID, _TEXT, _TEXTS = {"number", "text"}, {"text"}, {"array of text", "empty array"}
_CALLBACK_TYPES: Mapping[str, set[str]] = {
    **dict.fromkeys(("fromAppId", "toAppId", "appId", "topicId", "timestamp", "sequence", "packetId"), _ID),
    **dict.fromkeys(("msgType", "fromAccount", "toAccount", "fromResource", "toResource", "payload"), _TEXT),
    **dict.fromkeys(("authentication", "bizType"), _TEXT),
    **dict.fromkeys(("toAccounts", "offlineResources"), _TEXTS),
    "offlineAccounts": {"array of object", "empty array"},
}
_MEMBER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_KIND = re.compile(r"[A-Z][A-Z_]{0,39}")


def look_at_callbacks(bodies: Iterable[bytes]) -> Result:
    """The bodies of callbacks as MIMC posted them."""
    kinds, as_presumed, count = dict[str, dict[str, list[str]]](), True, 0
    for body in bodies:
        count += 1
        try:
            as_presumed &= isinstance(parse_callback(body), Callback)
            members = json.loads(body)
        except (BadCallback, ValueError, RecursionError):
            as_presumed = False
            continue
        kind = _fit(str(members.get("msgType")), _KIND)
        for name, type_ in types_of(members).items():
            as_presumed &= type_ in _CALLBACK_TYPES.get(name, ())
            known = kinds.setdefault(kind, {}).setdefault(name, [])
            known += [type_] if type_ not in known else []
    if not count:
        return not_run(CALLBACK_FIELDS, "the file has no callback")
    return Result(CALLBACK_FIELDS, "confirmed" if as_presumed else "differs", {"callbacks": count, "members": kinds})


def look_at_token(name: str, app: AppSettings, account: str) -> Result:
    patience = TokenSettings.model_validate({"connect_timeout_s": TIMEOUT_S, "timeout_s": TIMEOUT_S})
    apps = {name: app}
    answer = TokenClient(apps, patience, Passable(apps, patience.echo_guard)).issue(name, account)
    if isinstance(answer, TransportFailure):
        return not_run(TOKEN_FIELDS, answer.reason, name)
    try:
        members = json.loads(answer.body)
        data = members["data"]
        found = {"status": answer.status, "members": types_of(members), "data": types_of(data)}
        good = members["code"] == 200 and {"token": "text", "appAccount": "text"}.items() <= types_of(data).items()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        good, found = False, {"status": answer.status}
    return Result(TOKEN_FIELDS, "confirmed" if good else "differs", found, app=name)


def types_of(members: Mapping[str, object]) -> dict[str, str]:
    """The type of each member; a name that is none of a protocol's is not repeated."""
    return {_fit(name, _MEMBER): _type_of(value) for name, value in members.items()}


def _fit(name: str, form: re.Pattern[str]) -> str:
    return name if form.fullmatch(name) else "(another name)"


def _type_of(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case []:
            return "empty array"
        case list():
            return f"array of {' and '.join(sorted({_type_of(it) for it in value}))}"
        case _:
            return "object"


# Apple


def count_first_streams(name: str, apns: ApnsSettings, store: Store, now: datetime) -> Result:
    """Asked with one push to a device that cannot exist, on a connection of its own."""
    environment = ApnsEnvironment.PRODUCTION
    if apns.proxy:
        return not_run(FIRST_STREAMS, "there is a proxy in between", name)
    try:
        authorization = authorization_of(apns, environment, store, now)
        request = ApnsWire(apns, environment).build([trial_push(environment, now)], authorization, now)
        before, after, status = _streams_allowed(request, apns)
    except BadSettings:
        return not_run(FIRST_STREAMS, "the key signs nothing", name)
    except (OSError, ValueError, h2.exceptions.ProtocolError) as error:
        return not_run(FIRST_STREAMS, type(error).__name__, name)
    seen = {"before": before, "after": after, "status": status}
    return Result(FIRST_STREAMS, "confirmed" if before == 1 else "differs", seen, app=name)


def _streams_allowed(request: Request, apns: ApnsSettings) -> tuple[int | None, int | None, int | None]:
    """MAX_CONCURRENT_STREAMS as the server first says it, and after its answer; and the answer's status."""
    address = urlsplit(request.url)
    context = ssl.create_default_context(cafile=apns.ca_file)
    context.set_alpn_protocols(["h2"])
    place = address.hostname or "", address.port or 443
    with (
        socket.create_connection(place, timeout=TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname=address.hostname) as tls,
    ):
        client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        client.initiate_connection()
        tls.sendall(client.data_to_send())
        first = _hear(client, tls, h2.events.RemoteSettingsChanged)
        allowed = first.changed_settings.get(SettingCodes.MAX_CONCURRENT_STREAMS) if first else None
        headers = [(":method", "POST"), (":scheme", "https"), (":authority", address.netloc), (":path", address.path)]
        headers += [(key.strip(), value.strip()) for key, _, value in (it.partition(":") for it in request.headers)]
        client.send_headers(1, [(key, value) for key, value in headers if value])
        client.send_data(1, request.body, end_stream=True)
        tls.sendall(client.data_to_send())
        answer = _hear(client, tls, h2.events.ResponseReceived)
        status = dict(answer.headers or ()).get(b":status") if answer else None
        _hear(client, tls, h2.events.RemoteSettingsChanged, patience_s=1.0)
        after = client.remote_settings.get(SettingCodes.MAX_CONCURRENT_STREAMS)
        before = allowed.new_value if allowed else None
        return before, after, int(status) if status else None


def _hear(
    client: h2.connection.H2Connection, tls: ssl.SSLSocket, kind: type[_Event], patience_s: float = TIMEOUT_S
) -> _Event | None:
    """The first event of that kind; None where none comes in time."""
    until = time.monotonic() + patience_s
    while (left := until - time.monotonic()) > 0:
        tls.settimeout(left)
        try:
            data = tls.recv(65_536)
        except TimeoutError:
            return None
        events = client.receive_data(data) if data else []
        tls.sendall(client.data_to_send())
        if found := next((it for it in events if isinstance(it, kind)), None):
            return found
        if not data:
            return None
    return None


def repeat_one_push(
    name: str, apns: ApnsSettings, device: Device, store: Store, now: datetime, shown: Callable[[], int]
) -> Result:
    """The same push twice to a real phone; `shown` asks a person how many alerts they see."""
    trial = trial_push(device.environment, now)
    unique = replace(trial.job.alert, message_id=digest("live-check", secrets.token_hex(8)))
    push = Push(Job(name, device.channel, device.account, device.device_id, unique), device)
    try:
        authorization = authorization_of(apns, device.environment, store, now)
    except BadSettings:
        return not_run(REPEATED_ID, "the key signs nothing", name)
    request = ApnsWire(apns, device.environment).build([push], authorization, now)
    answers = asyncio.run(_sent(lambda it: it.apns(apns, device.environment), [request, request]))
    statuses = [it.status if isinstance(it, Response) else it.reason for it in answers]
    if statuses != [200, 200]:
        return Result(REPEATED_ID, "not run", {"statuses": statuses}, "APNs did not take both", name)
    count = shown()
    seen = {"statuses": statuses, "shown": count}
    return Result(REPEATED_ID, "confirmed" if count == 1 else "differs", seen, app=name)


# Xiaomi


def push_to_unknown_account(name: str, mipush: MipushSettings, now: datetime) -> Result:
    """To an account that cannot have been set: its name was made a moment ago."""
    if not mipush.by_account:
        return not_run(UNKNOWN_ACCOUNT, 'mipush.address is not "account"', name)
    alert = trial_push(ApnsEnvironment.PRODUCTION, now).job.alert
    push = Push(Job(name, "mipush", f"live-check-{secrets.token_hex(8)}", "", alert), None)
    request = MipushWire(mipush, section=name).build([push], mipush_authorization(mipush), now)
    (answer,) = asyncio.run(_sent(lambda it: it.mipush(mipush), [request]))
    if isinstance(answer, TransportFailure):
        return not_run(UNKNOWN_ACCOUNT, answer.reason, name)
    try:
        members = json.loads(answer.body)
        code, data = members.get("code"), members.get("data")
    except (ValueError, AttributeError, RecursionError):
        return Result(UNKNOWN_ACCOUNT, "differs", {"status": answer.status}, app=name)
    seen = {
        "status": answer.status,
        "code": code if isinstance(code, int) else _type_of(code),
        "members": types_of(members),
        "data": types_of(data) if isinstance(data, dict) else _type_of(data),
    }
    return Result(UNKNOWN_ACCOUNT, "confirmed" if code == 20301 else "differs", seen, app=name)


async def _sent(
    open_: Callable[[TransportFactory], Transport], requests: Sequence[Request]
) -> list[Response | TransportFailure]:
    """One after the other, on one transport."""
    limits = Limits(push_timeout_s=TIMEOUT_S, connect_timeout_s=TIMEOUT_S)
    transports = TransportFactory(limits, lambda _event: None)
    answers = []
    try:
        transport = open_(transports)
        for request in requests:
            await transport.reserve(1)
            answers.append(await transport.send(request, time.monotonic() + TIMEOUT_S))
    finally:
        await transports.aclose()
    return answers
