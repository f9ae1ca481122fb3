"""A request's query."""

from flask import request

from proxy.web.envelope import HttpRefusal


def asked_section() -> str | None:
    """The section in `app`. Raises HttpRefusal 400."""
    return asked_in_query("app")


def asked_in_query(name: str) -> str | None:
    """The first parameter of this name. Raises HttpRefusal 400."""
    try:
        return request.args.get(name)
    except UnicodeDecodeError:  # bytes of it that are no UTF-8, and not in percent encoding either
        raise HttpRefusal(400, "query: expected UTF-8") from None
