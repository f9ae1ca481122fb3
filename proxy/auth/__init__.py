"""Who is calling? Each way of proving a user is a module here and a line in `BACKENDS`."""

from collections.abc import Callable, Mapping, Sequence

from proxy.auth.credentials import Authenticated, Backend, Credentials, Refused
from proxy.auth.jwt_bearer import JwtBearer
from proxy.settings import AuthSettings

__all__ = ["BACKENDS", "Authenticated", "Authenticator", "Backend", "Credentials", "Refused", "build_authenticator"]

BACKENDS: Mapping[str, Callable[[AuthSettings], Backend | None]] = {
    "jwt": lambda settings: JwtBearer(settings.jwt) if settings.jwt else None,
}


class Authenticator:
    """Asks the backends in order; the first that knows the caller decides."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._backends = tuple(backends)

    def authenticate(self, credentials: Credentials) -> Authenticated | Refused:
        reasons = []
        for backend in self._backends:
            match backend.authenticate(credentials):
                case Authenticated() as user:
                    return user
                case Refused(reason):
                    reasons.append(reason)
        return Refused("; ".join(reasons) or "no backend is on")


def build_authenticator(settings: AuthSettings) -> Authenticator:
    """The backends whose section is present, in the order of the settings."""
    built = (BACKENDS[name](settings) for name in settings.order)
    return Authenticator([backend for backend in built if backend is not None])
