"""What the claims of a token come to, once its signature is proven. Pure: the time is passed in.

RFC 7519, 4.1, and stricter: times are JSON numbers, `exp` must be there, and an audience that the settings do
not name makes the token one for another service.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy import strict_json
from proxy.auth.credentials import Refused, account_of

# A sign-in is not good for ever; and an issuer that writes milliseconds into `exp` signs tokens for 50,000 years.
MOST_LIFE_S = 10 * 366 * 86_400
_FARTHEST = 1e15


@dataclass(frozen=True)
class ClaimRules:
    """What an issuer's tokens must say. `issuer`, `audience` None: not compared, and an `aud` is refused."""

    issuer: str | None
    audience: str | None
    leeway_s: float
    account_claim: str
    account_prefix: str


@dataclass(frozen=True)
class Proven:
    """The account, and until when (seconds since 1970) the token itself proves it."""

    account: str
    until: float


def judge(claims: Mapping[str, Any], rules: ClaimRules, now: float) -> Proven | Refused:
    if rules.issuer is not None and claims.get("iss") != rules.issuer:
        return Refused("wrong iss")
    if not _is_for(claims.get("aud"), rules.audience):
        return Refused("wrong aud")
    expires, begins, issued = (claims.get(name) for name in ("exp", "nbf", "iat"))
    if expires is None:
        return Refused("exp missing")
    if not _is_time(expires) or not all(time is None or _is_time(time) for time in (begins, issued)):
        return Refused("no times")
    if expires <= now - rules.leeway_s:
        return Refused("expired")
    if expires > now + MOST_LIFE_S:
        return Refused("expires too late")
    if any(time is not None and time > now + rules.leeway_s for time in (begins, issued)):
        return Refused("not yet valid")
    account = _account(claims, rules)
    return Refused("no account") if account is None else Proven(account, float(expires))


def _is_for(audience: object, ours: str | None) -> bool:
    match audience:
        case None:
            return ours is None
        case str():
            return audience == ours
        case list():
            return ours in audience and all(isinstance(one, str) for one in audience)
        case _:
            return False


def _is_time(value: object) -> bool:
    """Seconds since 1970, as JSON's number: no text, no NaN, nothing that arithmetic with a clock would choke on."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_FARTHEST < value < _FARTHEST


def _account(claims: Mapping[str, Any], rules: ClaimRules) -> str | None:
    found = _at(claims, rules.account_claim)
    if isinstance(found, int) and not isinstance(found, bool) and rules.account_claim != "sub":
        found = str(found)  # user ids are often numbers; `sub` is text by RFC 7519, 4.1.2
    account = account_of(found)
    return account if account is None else account_of(rules.account_prefix + account)


def _at(claims: Mapping[str, Any], path: str) -> object:
    """What is at a dotted path. A claim of just this name comes first: names that are URLs hold dots."""
    if path in claims:
        return claims[path]
    return strict_json.at(claims, path.split("."))
