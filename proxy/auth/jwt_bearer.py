"""`Authorization: Bearer <JWT>`, signed by the developer's own system, or by several side by side."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from proxy.auth.claims import ClaimRules, Proven, judge
from proxy.auth.credentials import Authenticated, Credentials, Refused, Unavailable
from proxy.auth.jws import Malformed, Unverified, parse_jws
from proxy.auth.jwt_keys import Key, has_signature_of_its_kind
from proxy.auth.jwt_memory import Memory, Remembered
from proxy.auth.jwt_sources import FileKeys, JwksKeys, KeysFetched, KeySource
from proxy.settings import JwtSettings

BACKEND = "jwt"

# All reasons there are, from the first check to the last: of several issuers the refusal that came furthest counts.
REASONS = (
    "malformed", "unknown iss", "algorithm not allowed", "unknown kid", "bad signature", "wrong iss", "wrong aud",
    "exp missing", "no times", "expired", "expires too late", "not yet valid", "no account",
)  # fmt: skip

_MOST_REMEMBERED = 10_000


def unnoticed(issuer: str, at: datetime) -> None:
    """No listener."""


class JwtBearer:
    """Refuses what no issuer has signed; None where there is no JWT at all.

    A token whose `iss` an issuer has as its `issuer` is that issuer's alone; any other is tried with each issuer that
    has none. `now` is seconds since 1970.
    """

    def __init__(
        self,
        issuers: Mapping[str, JwtSettings],
        on_keys: KeysFetched = unnoticed,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        remember: int = _MOST_REMEMBERED,
    ) -> None:
        self._issuers = {name: _issuer(name, own, on_keys, monotonic) for name, own in issuers.items()}
        self._now = now
        self.memory = Memory(remember)

    def authenticate(self, credentials: Credentials) -> Authenticated | Refused | Unavailable | None:
        bearer = credentials.bearer()
        if bearer is None or bearer.count(".") != 2:
            return None
        digest = hashlib.blake2b(bearer.encode(), digest_size=32).digest()
        now = self._now()
        if user := self._remembered(digest, now):
            return user
        try:
            token = parse_jws(bearer)
        except Malformed:
            return Refused("malformed")
        return self._ask(token, digest, now, credentials.client)

    def _remembered(self, digest: bytes, now: float) -> Authenticated | None:
        found = self.memory.recall(digest, now)
        if found is None:
            return None
        if found.key in self._issuers[found.issuer].keys.look().identities:
            return found.user
        self.memory.remove(digest)
        return None

    def _ask(self, token: Unverified, digest: bytes, now: float, client: str) -> Authenticated | Refused | Unavailable:
        refused = Refused("unknown iss")
        unavailable = None
        for issuer in self._candidates(token.claims.get("iss")):
            match issuer.verify(token, now, client):
                case (Authenticated() as user, until, key):
                    self.memory.keep(digest, Remembered(user, until, issuer.name, key.identity))
                    return user
                case Unavailable() as verdict:
                    unavailable = verdict
                case Refused() as verdict:
                    refused = max(refused, verdict, key=lambda refusal: REASONS.index(refusal.reason))
        return unavailable or refused

    def _candidates(self, iss: object) -> list["_Issuer"]:
        named = [issuer for issuer in self._issuers.values() if issuer.rules.issuer == iss and iss is not None]
        return named or [issuer for issuer in self._issuers.values() if issuer.rules.issuer is None]


@dataclass(frozen=True)
class _Issuer:
    """One system that signs: where its keys are, what its tokens must say, and which app they are good for."""

    name: str
    keys: KeySource
    algorithms: frozenset[str]
    rules: ClaimRules
    app: str | None

    def verify(
        self, token: Unverified, now: float, client: str
    ) -> tuple[Authenticated, float, Key] | Refused | Unavailable:
        if token.algorithm not in self.algorithms:  # no key source is asked for keys that could not serve
            return Refused("algorithm not allowed")
        keys: Sequence[Key] | Unavailable = self.keys.look().named(token.kid)
        if not keys and self._could_be_genuine(token, now):
            keys = self.keys.ask_for(token.kid, client)
        if isinstance(keys, Unavailable):
            return keys
        if not keys:
            return Refused("unknown kid")
        fitting = [key for key in keys if token.algorithm in key.algorithms]
        if not fitting:
            return Refused("algorithm not allowed")
        signer = next((key for key in fitting if key.verifies(token)), None)
        if signer is None:
            return Refused("bad signature")
        match judge(token.claims, self.rules, now):
            case Proven(account, until):
                return Authenticated(account, self.app, BACKEND), until, signer
            case Refused() as refused:
                return refused

    def _could_be_genuine(self, token: Unverified, now: float) -> bool:
        """Could a key that is not known yet make this token a good one?"""
        return has_signature_of_its_kind(token) and isinstance(judge(token.claims, self.rules, now), Proven)


def _issuer(name: str, settings: JwtSettings, on_keys: KeysFetched, monotonic: Callable[[], float]) -> _Issuer:
    keys: KeySource = (
        JwksKeys(name, settings, on_keys, monotonic) if settings.jwks_url else FileKeys(name, settings, monotonic)
    )
    rules = ClaimRules(
        issuer=settings.issuer or None,
        audience=settings.audience or None,
        leeway_s=settings.leeway.total_seconds(),
        account_claim=settings.account_claim,
        account_prefix=settings.account_prefix,
    )
    return _Issuer(name, keys, settings.possible_algorithms, rules, settings.app)
