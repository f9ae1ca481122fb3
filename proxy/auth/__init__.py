"""Who is calling? Each way of proving a user is a module here and a line in `BACKENDS`."""

from collections.abc import Callable, Mapping

from proxy.auth.accounts import BuiltInAccounts
from proxy.auth.credentials import Authenticated, Backend, Credentials, Refused, Unavailable, account_of
from proxy.auth.introspection import Introspection
from proxy.auth.jwt_bearer import JwtBearer
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

BACKENDS: Mapping[str, Callable[[AuthSettings], Backend | None]] = {
    "jwt": lambda settings: JwtBearer(settings.jwt) if settings.jwt else None,
    "introspection": lambda settings: Introspection(settings.introspection) if settings.introspection else None,
    "accounts": lambda settings: BuiltInAccounts(settings.accounts) if settings.accounts else None,
}


class Authenticator:
    """Asks the backends in order, by their names; the first that knows the caller decides."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = dict(backends)

    def authenticate(self, credentials: Credentials) -> Authenticated | Refused | Unavailable:
        """Who it is. A backend that cannot tell ends the search: the next could only refuse what it would take."""
        refusals = []
        for name, backend in self._backends.items():
            match backend.authenticate(credentials):
                case Authenticated() | Unavailable() as verdict:
                    return verdict
                case Refused(reason):
                    refusals.append((name, reason))
                case None:
                    continue
        told = "; ".join(f"{name}: {reason}" for name, reason in refusals)
        return Refused(told or "no credentials that any backend knows", tuple(refusals))


def build_authenticator(settings: AuthSettings) -> Authenticator:
    """The backends whose section is present, in the order of the settings."""
    built = {name: BACKENDS[name](settings) for name in settings.asked}
    return Authenticator({name: backend for name, backend in built.items() if backend is not None})
