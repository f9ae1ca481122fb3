"""How a bearer that is an API key is told from one that proves a user, before anything else is known of it."""

import re

API_KEY_PREFIX = "ak_"
_SHOWN = re.compile(rf"\s*(?:\w+\s+)?{API_KEY_PREFIX}", re.IGNORECASE)  # whatever scheme is before it, or none


def shows_api_key(authorization: str) -> bool:
    """Does this value of an Authorization header hold an API key, be it a wrong or a mangled one?

    So no way of proving users is ever asked about it: the developer's own introspection URL would learn the key.
    """
    return bool(_SHOWN.match(authorization))
