"""The TokenService's answer, as far as we read it: its code, and whether there is a token. Pure.

Source: MIMC operation manual, POST /api/account/token. A client gets the bytes as they came, whatever is read here.
"""

import json
import re
from typing import Any, Final

from proxy.domain.transfers import Response, TransportFailure
from proxy.strict_json import BadJson, at, object_or_none, read_object

SUCCESS: Final = 200
_MOST_CODE: Final = 99_999  # of those seen the longest has five digits
_FIRST_MEMBER: Final = re.compile(rb'\s*\{\s*"code"\s*:\s*([0-9]{1,5})\s*[,}]')
_SECURITY_KEY: Final = "miUserSecurityKey"


def reason_of(answer: Response | TransportFailure) -> str | None:
    """Why there is no token, in a few words of a closed set; None where there is one.

    MIMC's own code says more than the HTTP status: a wrong appKey is code 401 under HTTP 200.
    """
    if isinstance(answer, TransportFailure):
        return answer.reason
    members = object_or_none(answer.body)
    match _code(members):
        case None:
            return f"HTTP {answer.status} without MIMC's code"
        case code if code == SUCCESS:
            return None if _has_token(members) else "MIMC's code 200 without a token"
        case code if 0 <= code <= _MOST_CODE:
            return f"MIMC's code {code}"
        case _:
            return "MIMC's code is none"


def token_in(answer: Response) -> str | None:
    """The user's token in a successful answer; None for any other."""
    members = object_or_none(answer.body)
    if _code(members) != SUCCESS or not _has_token(members):
        return None
    token: str = members["data"]["token"] if members else ""
    return token


def code_of(answer: Response) -> int | None:
    """MIMC's own code; None where something in between answered."""
    if found := _FIRST_MEMBER.match(answer.body):  # a day of history is not worth reading for this
        return int(found[1])
    return _code(object_or_none(answer.body))


def is_refusal(answer: object) -> bool:
    """Did MIMC say no to a call? By its own code, which it says under HTTP 200 too, or by a status of the client's."""
    if not isinstance(answer, Response) or answer.status >= 500:
        return False
    return answer.status >= 400 or code_of(answer) != SUCCESS


def without_security_key(body: bytes) -> bytes | None:
    """A successful answer as JSON without the user's security key; None for any other answer.

    A member that is named twice makes it another answer: what the second one hides would be in no view of it.
    """
    try:
        members = read_object(body, unique=True)
    except BadJson:
        return None
    if _code(members) != SUCCESS or not _has_token(members):
        return None
    rest = {name: value for name, value in members["data"].items() if name != _SECURITY_KEY}
    return json.dumps(members | {"data": rest}).encode()


def _has_token(members: dict[str, Any] | None) -> bool:
    token = at(members, ("data", "token"))
    return isinstance(token, str) and token != ""


def _code(members: dict[str, Any] | None) -> int | None:
    code = at(members, ("code",))
    return code if isinstance(code, int) and not isinstance(code, bool) else None
