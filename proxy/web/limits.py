"""How often one account and one address may call. Beyond it: 429 with Retry-After.

This is the one place that says what is limited; `require` (callers.py) says for each route which of these it counts
for. Every call counts against its address first, in this process, before anything is looked at. The store hears of it
in the one round trip that admits a proved user, or before anything is done for a caller who is not proved yet: a
sign-in, or a question to the developer's own introspection URL.

When the counters cannot be reached, sign-in is answered 503, because passwords could be guessed without a limit, but a
proved user still gets a token; both are counted. A callback with the right URL secret is never limited: MIMC sends what
users write.
"""

import math
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from proxy.domain.limits import Budget, Exceeded
from proxy.domain.times import MS
from proxy.errors import StoreUnavailable
from proxy.metrics import limiter_unavailable_total, rate_limited_total
from proxy.settings.fields import read_rate
from proxy.web import current_notes, current_services
from proxy.web.access import add_log_context
from proxy.web.addresses import client_address, network_of
from proxy.web.envelope import HttpRefusal

if TYPE_CHECKING:
    from proxy.domain.quotas import QuotaRequest, QuotaSpent


class Limited(StrEnum):
    """What is limited; `[limits]` has `<name>_per_address` for each, `<name>_per_account` for what users call, and
    `client_per_key` for services."""

    TOKEN = "token"  # noqa: S105  not one
    SIGN_IN = "sign_in"
    CLIENT = "client"  # whatever else a client calls
    WRONG_SECRET = "wrong_secret"  # noqa: S105  a callback without the right URL secret, in this process alone
    OPERATOR = "operator"  # in this process alone: the store may be away


def count_address(limited: Limited) -> None:
    """Counts a call of the current request's address in this process. Raises HttpRefusal 429."""
    budget = address_budget(limited)
    if budget and (exceeded := current_services().admission.count(budget)):
        raise too_often(limited, exceeded)


def share_address(limited: Limited) -> None:
    """Is the address within its limit for all processes together? One round trip; after `count_address`.

    Raises HttpRefusal 429. Without the counters what this process knows must do.
    """
    budget = address_budget(limited)
    if budget is None:
        return
    try:
        exceeded = current_services().admission.spend([], budget)
    except StoreUnavailable:
        count_uncounted(limited)
        return
    if exceeded:
        raise too_often(limited, exceeded)


def spend_sign_in(account: str) -> None:
    """Counts a try to sign in to this account, whether it exists or not, and its address for all processes together.

    From where the account signed in before there is a budget of its own. Raises HttpRefusal 429, StoreUnavailable.
    """
    admission, network = current_services().admission, network_of(client_address())
    budget = account_budget(Limited.SIGN_IN, account)
    try:
        if budget and admission.has_signed_in(account, network):
            budget = Budget("sign_in_known_account", budget.calls, budget.span_ms, f"{network} {account}")
        exceeded = admission.spend([budget] if budget else [], address_budget(Limited.SIGN_IN))
    except StoreUnavailable:
        count_uncounted(Limited.SIGN_IN)
        raise
    if exceeded:
        raise too_often(Limited.SIGN_IN, exceeded)


def remember_sign_in(account: str) -> None:
    """This account signed in from the current request's address."""
    current_services().admission.remember_sign_in(account, network_of(client_address()))


def account_budget(limited: Limited, account: str) -> Budget | None:
    """None: it is off."""
    return _budget(limited, "account", account)


def key_budget(key_id: str) -> Budget | None:
    """Of an API key; None: it is off."""
    return _budget(Limited.CLIENT, "key", key_id)


def address_budget(limited: Limited) -> Budget | None:
    """The current request's address; None: it is off."""
    budgets: dict[Limited, Budget | None] = current_notes().budgets
    if limited not in budgets:
        budgets[limited] = _budget(limited, "address", network_of(client_address()))
    return budgets[limited]


def take_quota(request: "QuotaRequest") -> None:
    """Takes from the quota that MIMC gives the app, before MIMC is asked; in a round trip of its own.

    Raises HttpRefusal 429. Without the counters MIMC itself must do.
    """
    services = current_services()
    if services.quotas is None:
        return
    try:
        spent = services.quotas.take(request, services.store_now())
    except StoreUnavailable:
        limiter_unavailable_total.labels(f"{request.amount} quota").inc()
        add_log_context(limiter="unavailable")
        return
    if spent:
        raise quota_spent(spent)


def quota_spent(spent: "QuotaSpent") -> HttpRefusal:
    """Counts and logs it too."""
    rate_limited_total.labels(f"{spent.amount} quota", spent.holder).inc()
    add_log_context(limited_by=spent.holder)
    whose = "this app's users" if spent.holder == "users" else f"this {spent.holder}"
    message = f"too many messages at a time: the share of {whose} in MIMC's quota is used up"
    return HttpRefusal(429, message, _retry_after(spent.wait_ms))


def count_uncounted(limited: Limited) -> None:
    limiter_unavailable_total.labels(limited).inc()
    add_log_context(limiter="unavailable")


def too_often(limited: Limited, exceeded: Exceeded) -> HttpRefusal:
    """Counts and logs it too."""
    by = exceeded.budget.by
    rate_limited_total.labels(limited, by).inc()
    add_log_context(limited_by=by)
    return HttpRefusal(429, f"too many calls by this {by}", _retry_after(exceeded.wait_ms))


def _retry_after(wait_ms: int) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil((wait_ms - 1) / 1000)))}  # one millisecond is not worth a second


def _budget(limited: Limited, by: str, caller: str) -> Budget | None:
    name = f"{limited}_per_{by}"
    rate = _calls_in_ms(getattr(current_services().settings.limits, name))
    return None if rate is None else Budget(name, *rate, caller)


@cache
def _calls_in_ms(rate: str) -> tuple[int, int] | None:
    found = read_rate(rate)
    return None if found is None else (found[0], found[1] // MS)
