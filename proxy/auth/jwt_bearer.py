"""`Authorization: Bearer <JWT>`, signed by the developer's own system with a key that both know."""

import jwt

from proxy.auth.credentials import Authenticated, Credentials, Refused, account_of
from proxy.settings import JwtSettings


class JwtBearer:
    """`sub` is the account; `exp` and `sub` are required, `nbf` and `iat` checked where present."""

    def __init__(self, settings: JwtSettings) -> None:
        self._key = settings.key.get_secret_value()
        self._algorithms = list(settings.algorithms)
        self._leeway = settings.leeway_s

    def authenticate(self, credentials: Credentials) -> Authenticated | Refused | None:
        bearer = credentials.bearer()
        if bearer is None:
            return None
        try:
            claims = jwt.decode(
                bearer,
                self._key,
                algorithms=self._algorithms,
                leeway=self._leeway,
                options={"require": ["exp", "sub"]},
            )
        except jwt.PyJWTError as error:
            return Refused(type(error).__name__)
        except (RecursionError, OverflowError, ValueError) as error:
            # the library lets these through: deeply nested JSON, an infinite `exp`, a lone surrogate
            return Refused(type(error).__name__)
        account = account_of(claims["sub"])
        return Authenticated(account, None, "jwt") if account is not None else Refused("sub is not an account")
