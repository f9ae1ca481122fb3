"""The TokenService's answer, as far as we read it: its code, and whether there is a token. Pure.

Source: MIMC operation manual, POST /api/account/token. A client gets the bytes as they came, whatever is read here.
"""

import json
from typing import Any, Final

from proxy.strict_json import BadJson, at, object_or_none, read_object

SUCCESS: Final = 200
_SECURITY_KEY: Final = "miUserSecurityKey"


def code_of(body: bytes) -> int | None:
    """MIMC's own code, which says more than the HTTP status: a wrong appKey is code 401 under HTTP 200."""
    return _code(object_or_none(body))


def without_security_key(body: bytes) -> bytes | None:
    """A successful answer as JSON without the user's security key; None for any other answer.

    A member that is named twice makes it another answer: what the second one hides would be in no view of it.
    """
    try:
        members = read_object(body, unique=True)
    except BadJson:
        return None
    token = at(members, ("data", "token"))
    if _code(members) != SUCCESS or not isinstance(token, str) or not token:
        return None
    rest = {name: value for name, value in members["data"].items() if name != _SECURITY_KEY}
    return json.dumps(members | {"data": rest}).encode()


def _code(members: dict[str, Any] | None) -> int | None:
    code = at(members, ("code",))
    return code if isinstance(code, int) and not isinstance(code, bool) else None
