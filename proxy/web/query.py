"""A request's query."""

from flask import request

from proxy.web.envelope import HttpRefusal


def asked_section() -> str | None:
    """The section in `app`. Raises HttpRefusal 400."""
    try:
        return request.args.get("app")
    except UnicodeDecodeError:  # bytes of it that are no UTF-8, and not in percent encoding either
        raise HttpRefusal(400, "query: expected UTF-8") from None
