"""A page of the console, and a part of one that the browser asks for again and again.

A held connection would hold a thread; a poll that finds nothing new costs the browser nothing but an answer 304.
"""

import hashlib

from flask import Response, redirect, render_template, url_for
from markupsafe import Markup

from proxy.errors import NotFound
from proxy.web import current_request
from proxy.web.console import words
from proxy.web.console.blueprint import bp, with_query
from proxy.web.console.rules import open_to_look


@bp.get("/<path:unknown>")
@open_to_look
def no_such_page(unknown: str) -> Response:  # noqa: ARG001  the route's
    raise NotFound("there is no such page")


def page(name: str, status: int = 200, **values: object) -> Response:
    """templates/console/NAME.html."""
    return Response(render_template(f"console/{name}.html", **values), status)


def fragment(name: str, endpoint: str, /, **values: object) -> Response:
    """The part of a page which `live` put there; 304 where the browser has it already."""
    html, tag = _made(name, endpoint, values)
    if current_request().if_none_match.contains(tag):
        return Response(status=304, headers={"ETag": f'"{tag}"'})
    answer = Response(html)
    answer.set_etag(tag)
    return answer


@bp.app_template_global()
def live(name: str, endpoint: str, /, **values: object) -> Markup:
    """templates/console/NAME.html with these values, which the browser replaces every `every_s` of them (two seconds)
    by what `endpoint` answers with `fragment`.
    """
    return Markup(_made(name, endpoint, values)[0])  # noqa: S704  a template's own output


def after_change(endpoint: str, done: str, /, **values: object) -> Response:
    """To the page `endpoint`, which shows the text of the key `done`: a reload changes nothing twice."""
    return redirect(url_for(f"console.{endpoint}", done=done, **values), 303)  # type: ignore[return-value, arg-type]


@bp.app_template_global()
def done_text() -> str:
    """What `after_change` has to say."""
    key = current_request().args.get("done", "")
    return words.say(key) if ".done." in key and words.has(key) else ""


def _made(name: str, endpoint: str, values: dict[str, object]) -> tuple[str, str]:
    body = render_template(f"console/{name}.html", **values)
    facts = {"tag": hashlib.sha256(body.encode()).hexdigest()[:24], "endpoint": endpoint}
    facts["asked"] = with_query(url_for(f"console.{endpoint}"), _kept())
    every_s = values.get("every_s", 2)
    return render_template("console/live.html", body=Markup(body), every_s=every_s, **facts), facts["tag"]  # noqa: S704


def _kept() -> dict[str, str]:
    """The page's own parameters, which a part of it needs as well."""
    return {key: value for key, value in current_request().args.items() if key not in ("done", "language")}
