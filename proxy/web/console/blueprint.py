"""The console's blueprint: what every page of it has around itself."""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode

import structlog
from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from proxy.errors import BadSettings, NotSignedIn, Refusal, StoreUnavailable
from proxy.web import current_notes
from proxy.web.access import add_log_context
from proxy.web.console import figures, visitors, words
from proxy.web.envelope import HttpRefusal, answer_http_error, refused, status_of, unavailable, unexpected
from proxy.web.guards import is_operator

log = structlog.get_logger()

bp = Blueprint("console", __name__, url_prefix="/console", template_folder="templates")

# in the order of the navigation; each is a module here with a view of that name, and words with a "title"
PAGES = ("now", "find", "devices", "lanes", "dead_letters", "apps", "webhooks", "keys")
EMULATED = "phones"  # the same, where the emulators run

# For browsers. An address of the console in Referer would show an account to another site, and "no-referrer" would
# take the Origin from our own forms.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
NO_STORE = "no-store"


@bp.after_request
def _add_headers(response: Response) -> Response:
    if not is_operator(request.environ):
        return response
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", NO_STORE)
    words.remember_language(response)
    visitors.remember_browser(response)
    return response


@bp.context_processor
def _values() -> dict[str, object]:
    """What every template may use."""
    return {
        "t": words.say,
        "has": words.has,
        "language": words.language(),
        "languages": words.LANGUAGES,
        "visitor": visitors.visitor(),
        "csrf": visitors.csrf_token,
        "number": figures.number,
        "age": figures.age,
        "latency": figures.latency,
        "share": figures.share,
        "clock": figures.clock,
        "precise": figures.precise,
        "pages": PAGES if visitors.console_services().emulators is None else (*PAGES, EMULATED),
        "is_current": lambda endpoint: request.endpoint == f"console.{endpoint}",
        "here": _here,
    }


@bp.errorhandler(Refusal)
def _refuse(error: Refusal) -> Response:
    status = status_of(error)
    if status == 421 or not is_operator(request.environ):  # 421: another site's page would read ours
        return refused(error)
    if isinstance(error, NotSignedIn) and visitors.visitor().can_sign_in and _is_a_page():
        back = request.full_path.rstrip("?")
        return redirect(url_for("console.sign_in", back=back), 303)  # type: ignore[return-value]
    answer = _page_of(status, error.message)
    if isinstance(error, HttpRefusal):
        answer.headers.update(error.headers)
    return answer


@bp.errorhandler(StoreUnavailable)
def _no_store(error: StoreUnavailable) -> Response:
    if not is_operator(request.environ):
        return unavailable(error, current_notes().facts)
    add_log_context(store=str(error))
    return _page_of(503, str(error))


@bp.errorhandler(BadSettings)
def _no_operators(error: BadSettings) -> Response:
    """The file of the operators, which may be made while we run, is not to be read."""
    add_log_context(store=str(error))
    return _page_of(503, str(error))


@bp.errorhandler(HTTPException)
def _http_error(error: HTTPException) -> Response:
    if not is_operator(request.environ):
        return answer_http_error(error)
    return _page_of(error.code or 500, HTTPStatus(error.code or 500).phrase.lower())


@bp.errorhandler(Exception)
def _fault(error: Exception) -> Response:
    answer = unexpected(error, current_notes().facts)
    return _page_of(500, "internal server error") if is_operator(request.environ) else answer


def _page_of(status: int, reason: str) -> Response:
    return Response(render_template("console/error.html", status=status, reason=reason), status)


def _is_a_page() -> bool:
    """Not a part that a page polls, and no form: what was filled in would be lost anyhow."""
    return request.method == "GET" and "HX-Request" not in request.headers


def _here(**changes: str) -> str:
    """The address of this page with other parameters; a form's answer has none."""
    if request.method != "GET":
        return url_for("console.now", **changes)  # type: ignore[arg-type]
    of_view = url_for(request.endpoint or "console.now", **(request.view_args or {}))
    return with_query(of_view, {**request.args.to_dict(), **changes})


def with_query(path: str, values: Mapping[str, str]) -> str:
    """What came from a browser is no argument of `url_for`, which takes some names for its own: endpoint, _method."""
    return f"{path}?{urlencode(values)}" if values else path
