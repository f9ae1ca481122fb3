"""How often one account and one address may ask for tokens and sign in. Beyond it: 429 with Retry-After.

When the counters cannot be reached, sign-in is answered 503, because passwords could be guessed without a limit, but a
proven user still gets a token; both are counted. Nothing under /callbacks is limited: MIMC sends what users write.
"""

import math
from enum import StrEnum

from proxy.errors import StoreUnavailable
from proxy.metrics import limiter_unavailable_total, rate_limited_total
from proxy.web import current_services
from proxy.web.access import add_log_context
from proxy.web.addresses import client_address, network_of
from proxy.web.envelope import HttpRefusal


class Limited(StrEnum):
    """What is limited; `[limits]` has a rate per account and per address for each."""

    TOKEN = "token"  # noqa: S105  not one
    SIGN_IN = "sign_in"


def limit_address(limited: Limited) -> None:
    """Counts a call of the current request's address. Raises HttpRefusal 429, for a sign-in also StoreUnavailable."""
    _spend(limited, "address", network_of(client_address()))


def limit_account(limited: Limited, account: str) -> None:
    """Counts a call for this account, whether it exists or not. Raises as `limit_address`."""
    _spend(limited, "account", account)


def _spend(limited: Limited, by: str, caller: str) -> None:
    services = current_services()
    name = f"{limited}_per_{by}"
    rate: str = getattr(services.settings.limits, name)
    if rate == "off":
        return
    try:
        wait_s = services.limits.spend(name, rate, caller)
    except StoreUnavailable:
        limiter_unavailable_total.labels(limited).inc()
        add_log_context(limiter="unavailable")
        if limited is Limited.SIGN_IN:
            raise
        return
    if wait_s is not None:
        rate_limited_total.labels(limited, by).inc()
        add_log_context(limited_by=by)
        raise HttpRefusal(429, f"too many calls by this {by}", {"Retry-After": str(max(1, math.ceil(wait_s)))})
