"""Which user is calling? Each way of proving a user is a module here and a line in `BACKENDS`."""

from collections.abc import Mapping
from typing import Protocol

from proxy.auth.accounts import BuiltInAccounts
from proxy.auth.credentials import Authenticated, Backend, Credentials, Refused, Unavailable, account_of
from proxy.auth.introspection import Introspection
from proxy.auth.jwt_bearer import JwtBearer, unnoticed
from proxy.auth.jwt_sources import KeysFetched
from proxy.settings import AuthSettings

__all__ = [
    "BACKENDS",
    "Authenticated",
    "Authenticator",
    "Backend",
    "Credentials",
    "Refused",
    "Unavailable",
    "account_of",
    "build_authenticator",
]


class Build(Protocol):
    """Makes a backend, or None where its section is absent."""

    def __call__(self, settings: AuthSettings, on_keys: KeysFetched = unnoticed, /) -> Backend | None: ...


BACKENDS: Mapping[str, Build] = {
    "jwt": lambda settings, on_keys=unnoticed: JwtBearer(settings.jwt, on_keys) if settings.jwt else None,
    "introspection": lambda settings, _=unnoticed: (
        Introspection(settings.introspection) if settings.introspection else None
    ),
    "accounts": lambda settings, _=unnoticed: BuiltInAccounts(settings.accounts) if settings.accounts else None,
}


class Authenticator:
    """Asks the backends in order, by their names; the first that knows the caller decides."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = dict(backends)

    def authenticate(self, credentials: Credentials) -> Authenticated | Refused | Unavailable:
        """The user. A backend that cannot decide ends the search: the next could only refuse what it would take."""
        refusals = []
        for name, backend in self._backends.items():
            match backend.authenticate(credentials):
                case Authenticated() | Unavailable() as verdict:
                    return verdict
                case Refused(reason):
                    refusals.append((name, reason))
                case None:
                    continue
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refusals)
        return Refused(reasons or "no credentials that any backend knows", tuple(refusals))


def build_authenticator(settings: AuthSettings, on_keys: KeysFetched = unnoticed) -> Authenticator:
    """The backends that the settings name, in their order. `on_keys` is called after each fetch of an issuer's keys."""
    built = {name: BACKENDS[name](settings, on_keys) for name in settings.asked}
    return Authenticator({name: backend for name, backend in built.items() if backend is not None})
