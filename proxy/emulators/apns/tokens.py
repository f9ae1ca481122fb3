"""Who may push: the provider token, a JWT signed with ES256 by a team's key."""

import base64
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from proxy.emulators.apns.answers import Answer, refusal
from proxy.emulators.apns.config import ApnsConfig, Environment

_LIFE_S = 3600
_CLOCK_SKEW_S = 300
_REMEMBERED = 1000
_INTEGER_SIZE = 32  # of each of a P-256 signature's two numbers


@dataclass(frozen=True)
class ProviderKey:
    team_id: str
    public_key: ec.EllipticCurvePublicKey
    environment: Environment | None


def provider_keys(config: ApnsConfig) -> dict[str, ProviderKey]:
    """Every team's keys by key id."""
    return {
        key.key_id: ProviderKey(team.team_id, key.key, key.environment) for team in config.teams for key in team.keys
    }


class ProviderTokens:
    """Checks provider tokens, and remembers the good ones, because verifying one costs 100 us.

    APNs refuses a team that makes new tokens too often: at most `updates` in `window_s` seconds here (0: no limit).
    """

    def __init__(
        self, keys: Mapping[str, ProviderKey], environment: Environment, updates: int = 2, window_s: float = 1200
    ) -> None:
        self._keys, self._environment, self._updates, self._window_s = keys, environment, updates, window_s
        self._known: dict[str, tuple[str, float]] = {}
        self._updated: dict[str, deque[float]] = {key.team_id: deque() for key in keys.values()}
        self.updates_seen = 0

    def check(self, authorization: str | None, now: float) -> str | Answer:
        """The team id that the header's token speaks for, or the refusal; `now` is UNIX seconds."""
        scheme, _, provider_token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not provider_token:
            return refusal("MissingProviderToken")
        known = self._known.get(provider_token)
        if known is None:
            return self._admit(provider_token, now)
        team_id, issued_at = known
        return team_id if now - issued_at <= _LIFE_S else refusal("ExpiredProviderToken")

    def _admit(self, provider_token: str, now: float) -> str | Answer:
        verified = self._verify(provider_token)
        if isinstance(verified, Answer):
            return verified
        team_id, issued_at = verified
        if issued_at > now + _CLOCK_SKEW_S:
            return refusal("InvalidProviderToken")
        if now - issued_at > _LIFE_S:
            return refusal("ExpiredProviderToken")
        if not self._may_update(team_id, now):
            return refusal("TooManyProviderTokenUpdates")
        while len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[provider_token] = verified
        return team_id

    def _verify(self, provider_token: str) -> tuple[str, float] | Answer:
        try:
            header = jwt.get_unverified_header(provider_token)
            key = self._keys[header["kid"]]
            claims = jwt.decode(
                _with_raw_signature(provider_token),
                key.public_key,
                algorithms=["ES256"],
                options={"verify_exp": False, "verify_iat": False, "verify_aud": False, "require": ["iss", "iat"]},
            )
        except (jwt.InvalidTokenError, KeyError, TypeError):  # TypeError: a kid that no mapping can hold
            return refusal("InvalidProviderToken")
        if key.environment not in (None, self._environment):
            return refusal("BadEnvironmentKeyIdInToken")
        issued_at = claims["iat"]
        # a float is what one widespread client sends; no document or client shows that a text works
        if claims["iss"] != key.team_id or isinstance(issued_at, bool) or not isinstance(issued_at, int | float):
            return refusal("InvalidProviderToken")
        return key.team_id, issued_at

    def _may_update(self, team_id: str, now: float) -> bool:
        updated = self._updated[team_id]
        while updated and updated[0] <= now - self._window_s:
            updated.popleft()
        if self._updates and len(updated) >= self._updates:
            return False
        updated.append(now)
        self.updates_seen += 1
        return True


def _with_raw_signature(provider_token: str) -> str:
    """The token with its signature as RFC 7518, 3.4 wants it: r and s, 32 bytes each.

    Pushy leaves it in DER, as Java's SHA256withECDSA makes it, and Apple takes that.
    """
    signed, _, signature = provider_token.rpartition(".")
    try:
        given = base64.urlsafe_b64decode(signature + "==")
        if len(given) == 2 * _INTEGER_SIZE:
            return provider_token
        raw = b"".join(number.to_bytes(_INTEGER_SIZE) for number in decode_dss_signature(given))
    except (ValueError, OverflowError):  # no base64, no DER, or numbers that are too large: no signature at all
        return provider_token
    return f"{signed}.{base64.urlsafe_b64encode(raw).decode().rstrip('=')}"
