"""Does the developer's own sender take what a worker sends? Asked with an event that is about no phone."""

import asyncio
import secrets
import time
from datetime import datetime

from proxy.channels.factory import TransportFactory
from proxy.channels.http.wire import HttpWire
from proxy.channels.transfer import Limits
from proxy.check_config.addresses import TIMEOUT_S, host_of
from proxy.check_config.finding import Finding
from proxy.domain.transfers import Response, TransportFailure
from proxy.settings import HttpSettings

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


async def _send_check(http: HttpSettings, now: datetime) -> Response | TransportFailure:
    transports = TransportFactory(Limits(push_timeout_s=TIMEOUT_S, connect_timeout_s=TIMEOUT_S), lambda _event: None)
    try:
        transport = transports.http(http)
        await transport.reserve(1)
        request = HttpWire(http).build_check(f"check-{secrets.token_hex(8)}", now)
        return await transport.send(request, time.monotonic() + TIMEOUT_S)
    finally:
        await transports.aclose()
