"""What an answer of the developer's URL means. No I/O. Only a 2xx answer that can be read makes a user.

RFC 7662 is OAuth 2.0 Token Introspection.
"""

import math
from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import TypeAlias

from proxy import strict_json
from proxy.auth.credentials import Authenticated, Refused, Unavailable, account_of
from proxy.settings import IntrospectionSettings

NO_USER = Refused("no user is signed in")
NOT_ACTIVE = Refused("not active")
OTHER_AUDIENCE = Refused("for another audience")
NO_ACCOUNT = Refused("not an account")

CLIENT_REFUSED = Unavailable("our client was refused")
BAD_STATUS = Unavailable("unexpected status")
BAD_ANSWER = Unavailable("unreadable answer")

Verdict: TypeAlias = Authenticated | Refused | Unavailable


def judge(
    settings: IntrospectionSettings, status: int, body: bytes, *, by_cookie: bool
) -> tuple[Verdict, float | None]:
    """The verdict, and until when a token holds, in seconds since 1970, where rfc7662 says so."""
    rfc7662 = settings.style == "rfc7662"
    if status in {401, 403}:
        # RFC 7662, 2.3: our own client was refused, which says nothing about the user
        return (CLIENT_REFUSED if rfc7662 else NO_USER), None
    if status in {302, 303} and not rfc7662:
        return NO_USER, None  # so Django's and Laravel's pages send a stranger to the sign-in form
    if not 200 <= status < 300:
        return BAD_STATUS, None
    answer = strict_json.object_or_none(body.removeprefix(BOM_UTF8))
    if answer is None:
        return BAD_ANSWER, None
    if rfc7662 and (refusal := _refuse_token(settings, answer)):
        return refusal, None
    return _user(settings, answer, by_cookie), _time(answer.get("exp")) if rfc7662 else None


def _refuse_token(settings: IntrospectionSettings, answer: Mapping[str, object]) -> Refused | Unavailable | None:
    """RFC 7662, 2.2. An authorization server calls tokens active that were made for other services too."""
    match answer.get("active"):
        case True:
            audiences = answer.get("aud")
            named = audiences if isinstance(audiences, list) else [audiences]
            return OTHER_AUDIENCE if settings.audience and settings.audience not in named else None
        case False:
            return NOT_ACTIVE
        case _:
            return BAD_ANSWER


def _user(settings: IntrospectionSettings, answer: Mapping[str, object], by_cookie: bool) -> Authenticated | Refused:
    found = strict_json.at(answer, settings.account_path)
    if found is None or found is False or found == "":
        return NO_USER  # some endpoints answer a stranger 200 too
    if type(found) is int and found > 0:  # a database's key; frameworks give guests 0
        found = str(found)
    account = account_of(found) and account_of(f"{settings.account_prefix}{found}")
    if account is None:
        return NO_ACCOUNT
    return Authenticated(account, settings.app, "introspection", by_cookie=by_cookie)


def _time(exp: object) -> float | None:
    if isinstance(exp, int | float) and abs(exp) < 1e12 and math.isfinite(exp):
        return float(exp)
    return None
