"""Every route says who may call it; a test walks the URL map and fails on one that does not."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, cast

from flask import Request, Response, current_app

from proxy.auth import Authenticated
from proxy.errors import NotFound
from proxy.web import current_notes, current_request
from proxy.web.guards import (
    admit_service,
    admit_user,
    is_operator,
    require_known_host,
    require_operator,
    require_operator_or_one_listener,
    service_calling,
    signed_in,
)
from proxy.web.limits import Limited, count_address

if TYPE_CHECKING:
    from proxy.domain.api_keys import ApiKey
    from proxy.domain.quotas import QuotaRequest

P = ParamSpec("P")
View = Callable[P, Response]


class Caller(StrEnum):
    """Who may call a route."""

    USER = "user"  # proved by a backend; all others are answered 401
    CLIENT = "client"  # the same, or a server of the developer's with an API key
    ANYONE = "anyone"
    SENDER = "sender"  # knows a URL secret, which the view checks: no session, no flask-login, no limit
    OPERATOR = "operator"  # on the operator's own listener; 404 on the public one
    BALANCER = "balancer"  # the same, and where operator_bind = bind leaves one listener, on that one


@dataclass(frozen=True)
class Guard:
    """What `require` said of a view; `limited` names the limits that its calls count for."""

    caller: Caller
    limited: Limited


def require(caller: Caller, limited: Limited, *, with_quota: bool = False) -> Callable[[View[P]], View[P]]:
    """Who may call the view below, and how often. Put it under the route's own decorator.

    A call counts against its address before anything is looked at, and a USER's against their account, a service's
    against its key, as soon as that is known. A SENDER is counted by the view, where the URL secret is wrong. Raises
    ValueError for any other limit on senders: MIMC sends what users write, and gives up after three repeats.
    `with_quota`: the view of a CLIENT has to call `admit_caller` before anything leaves, for it alone knows what the
    call takes from a quota; a call that it refuses before counts all the same.
    """
    if (caller is Caller.SENDER) is not (limited is Limited.WRONG_SECRET):
        raise ValueError("callbacks are limited by wrong secrets alone")
    if caller is Caller.CLIENT and limited is not Limited.CLIENT:
        raise ValueError("only what clients call has a limit for API keys")

    def guarded(view: View[P]) -> View[P]:
        if caller is Caller.SENDER:
            checked = view  # the hottest route has nothing in front of it
        else:

            @wraps(view)
            def checked(*args: P.args, **kwargs: P.kwargs) -> Response:
                _check(caller, limited)
                if not with_quota:
                    admit_caller()
                    return view(*args, **kwargs)
                try:
                    return view(*args, **kwargs)
                finally:
                    admit_caller()

        vars(checked)[_GUARD] = Guard(caller, limited)
        return checked

    return guarded


def current_user() -> Authenticated:
    """The user for whom `require` let the request into a view for users."""
    user: Authenticated = current_notes().user
    return user


def current_caller() -> "Authenticated | ApiKey":
    """The user, or the key of the service, that `require` let into a view for clients."""
    caller: Authenticated | ApiKey = current_notes().caller
    return caller


def admit_caller(quota: "QuotaRequest | None" = None) -> None:
    """The proved caller of this request may go on, and `quota` has room; once for each request.

    Raises NotSignedIn, HttpRefusal 429 and StoreUnavailable.
    """
    notes = current_notes()
    proof, limited = notes.pop("unadmitted", (None, None))
    if isinstance(proof, Authenticated):
        admit_user(limited, proof, quota)
    elif proof is not None:
        admit_service(proof, quota)


def guard_of(view: object) -> Guard | None:
    """What `require` said of this view, None: nothing."""
    return cast("Guard | None", getattr(view, _GUARD, None))


def check_listener(request: Request) -> None:
    """On the operator's listener there is nothing but the operator's, and that for known hosts alone. Before any view.

    Raises HttpRefusal 421 and NotFound.
    """
    if not is_operator(request.environ):
        return
    require_known_host(request.environ)
    guard = guard_of(current_app.view_functions.get(request.endpoint or ""))
    if guard is None or guard.caller not in {Caller.OPERATOR, Caller.BALANCER}:
        raise NotFound("not found")


def _check(caller: Caller, limited: Limited) -> None:
    count_address(limited)
    match caller:
        case Caller.USER:
            notes = current_notes()
            notes.user = signed_in(limited)
            notes.unadmitted = notes.user, limited
        case Caller.CLIENT:
            notes = current_notes()
            notes.caller = service_calling() or signed_in(limited)
            notes.unadmitted = notes.caller, limited
        case Caller.OPERATOR:
            require_operator(current_request().environ)
        case Caller.BALANCER:
            require_operator_or_one_listener(current_request().environ)
        case Caller.ANYONE | Caller.SENDER:
            pass


_GUARD = "guard"
