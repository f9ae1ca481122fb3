"""`Authorization: Bearer <JWT>`, signed by the developer's own system with a key that both know."""

import re

import jwt

from proxy.auth.credentials import Authenticated, Credentials, Refused, is_account
from proxy.settings import JwtSettings

# RFC 6750, 2.1: the scheme's name in any case, one space or more, b64token.
_BEARER = re.compile(r"bearer +([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE)


class JwtBearer:
    """`sub` is the account; `exp` and `sub` are required, `nbf` and `iat` checked where present."""

    def __init__(self, settings: JwtSettings) -> None:
        self._key = settings.key.get_secret_value()
        self._algorithms = list(settings.algorithms)
        self._leeway = settings.leeway_s

    def authenticate(self, credentials: Credentials) -> Authenticated | Refused:
        if credentials.authorization is None:
            return Refused("no bearer")
        match = _BEARER.fullmatch(credentials.authorization.strip())
        if match is None:
            return Refused("not a bearer")
        try:
            claims = jwt.decode(
                match[1],
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
        account = claims["sub"]
        return Authenticated(account, None, "jwt") if is_account(account) else Refused("sub is not an account")
