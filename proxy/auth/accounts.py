"""What a built-in account shows after it signed in: a short JWT of our own, and a refresh token to get the next with.

A refresh token is bound to its session by a MAC: so one that is ours, but no longer the session's, was used before, by
its owner or by a thief, and no list of old ones has to be kept.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from datetime import datetime

import jwt

from proxy.auth.credentials import Authenticated, Credentials, Refused, account_of
from proxy.auth.jwt_memory import Memory, Remembered
from proxy.settings import AccountsSettings

BACKEND = "accounts"
_ALGORITHM = "HS256"
_ISSUER = "mimc-app-proxy"
_LEEWAY_S = 10  # between the clocks of several machines
_MOST_REMEMBERED = 10_000
_ID_BYTES, _SECRET_BYTES, _MAC_BYTES = 16, 32, 16


class BuiltInAccounts:
    """The backend: `Authorization: Bearer` with an access token that `SessionTokens` signed."""

    def __init__(self, settings: AccountsSettings, now: Callable[[], float] = time.time) -> None:
        self._key = derived_key(settings, "access token")
        self._now = now
        self._memory = Memory(_MOST_REMEMBERED)

    def authenticate(self, credentials: Credentials) -> Authenticated | Refused | None:
        """None for whatever is not a JWT of this issuer."""
        bearer = credentials.bearer()
        if bearer is None:
            return None
        digest = _digest(bearer.encode())
        if found := self._memory.recall(digest, self._now()):
            return found.user
        return self._verify(bearer, digest) if _claims_to_be_ours(bearer) else None

    def _verify(self, bearer: str, digest: bytes) -> Authenticated | Refused:
        try:
            claims = jwt.decode(
                bearer,
                self._key,
                algorithms=[_ALGORITHM],
                issuer=_ISSUER,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iss", "sub", "sid"]},
            )
        except jwt.ExpiredSignatureError:
            return Refused("expired")
        except (jwt.PyJWTError, RecursionError, OverflowError, ValueError):
            return Refused("invalid")
        account, session_id = account_of(claims["sub"]), claims["sid"]
        if account is None or not isinstance(session_id, str):
            return Refused("invalid")
        user = Authenticated(account, None, BACKEND, session_id)
        self._memory.keep(digest, Remembered(user, float(claims["exp"]), BACKEND, b"the only one"))
        return user


class SessionTokens:
    """Access tokens, and refresh tokens with what is kept of each."""

    def __init__(self, settings: AccountsSettings) -> None:
        self._access_key = derived_key(settings, "access token")
        self._refresh_key = derived_key(settings, "refresh token")
        self._log_key = derived_key(settings, "log")
        self._access_life = settings.access_ttl

    def digest_for_log(self, typed: str) -> str:
        """Tells two texts apart, and tells neither without our key."""
        return hmac.digest(self._log_key, typed.encode(), "sha256").hex()[:12]

    def new_session_id(self) -> str:
        return _encode(secrets.token_bytes(_ID_BYTES))

    def access(self, account: str, session_id: str, now: datetime) -> str:
        claims = {"iss": _ISSUER, "sub": account, "sid": session_id, "iat": now, "exp": now + self._access_life}
        return jwt.encode(claims, self._access_key, _ALGORITHM)

    def new_refresh(self, session_id: str) -> tuple[str, bytes]:
        """A token for this session, and what is kept of it."""
        body = _decode(session_id) + secrets.token_bytes(_SECRET_BYTES)
        return _encode(body + self._mac(body)), _digest(body)

    def read_refresh(self, refresh_token: str) -> tuple[str, bytes] | None:
        """Its session and what is kept of it; None when we never gave it out."""
        try:
            decoded = _decode(refresh_token)
        except ValueError:
            return None
        body, mac = decoded[:-_MAC_BYTES], decoded[-_MAC_BYTES:]
        if len(body) != _ID_BYTES + _SECRET_BYTES or not hmac.compare_digest(mac, self._mac(body)):
            return None
        return _encode(body[:_ID_BYTES]), _digest(body)

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._refresh_key, body, "sha256")[:_MAC_BYTES]


def derived_key(settings: AccountsSettings, purpose: str) -> bytes:
    """A key of its own for each purpose: what one signs, no other takes."""
    key = settings.key.get_secret_value().encode()
    return hmac.digest(key, f"mimc-app-proxy accounts 1: {purpose}".encode(), "sha256")


def _claims_to_be_ours(bearer: str) -> bool:
    """Does it name this issuer? Nothing is verified here."""
    try:
        claims = jwt.decode(bearer, options={"verify_signature": False})
    except (jwt.PyJWTError, RecursionError, OverflowError, ValueError):
        return False
    return claims.get("iss") == _ISSUER


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def _encode(binary: bytes) -> str:
    return base64.urlsafe_b64encode(binary).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Raises ValueError for what is not the one way in which `_encode` writes it."""
    if not text.isascii():
        raise ValueError("not base64url")
    binary = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _encode(binary) != text:
        raise ValueError("not base64url")
    return binary
