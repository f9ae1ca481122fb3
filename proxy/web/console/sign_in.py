"""Operators sign in and out. The limits are those of every sign-in; the accounts are the operators' own."""

from flask import Response, redirect, request, url_for

from proxy.auth.credentials import account_of
from proxy.errors import NotFound, NotSignedIn
from proxy.web import current_services
from proxy.web.access import audit, audit_refusal
from proxy.web.console import visitors
from proxy.web.console.blueprint import bp
from proxy.web.console.pages import page
from proxy.web.console.rules import open_to_look, own_form
from proxy.web.limits import Limited, count_address, remember_sign_in, spend_sign_in

_BACKEND = "operators"


@bp.get("/sign-in")
@open_to_look
def sign_in() -> Response:
    if not visitors.visitor().can_sign_in:
        raise NotFound("there is no operator yet: make an account with `app-proxy operators add`")
    return page("sign_in", back=_back(request.args.get("back")), is_wrong=False)


@bp.post("/sign-in")
@own_form
def check_sign_in() -> Response:
    """Raises StoreUnavailable: without the counters passwords could be guessed."""
    name, back = account_of(request.form.get("name")), _back(request.form.get("back"))
    operators, now = visitors.console_services().operators, current_services().now()
    counted = f"operator\n{name}"  # no chat user's name has a control character, so none of them spends what is ours
    count_address(Limited.SIGN_IN)
    spend_sign_in(counted)
    try:
        secret = operators.sign_in(name or "", request.form.get("password", ""), now)
    except NotSignedIn:
        audit_refusal(_BACKEND, "sign-in")
        return page("sign_in", 401, back=back, is_wrong=True)
    remember_sign_in(counted)
    audit("signed in", backend=_BACKEND, operator=name)
    answer = redirect(back, 303)
    visitors.begin_session(answer, secret)
    return answer  # type: ignore[return-value]


@bp.post("/sign-out")
@own_form
def sign_out() -> Response:
    operators, now, name = visitors.console_services().operators, current_services().now(), visitors.visitor().operator
    if secret := visitors.session_secret():
        operators.sign_out(secret, now)
        audit("signed out", backend=_BACKEND, operator=name)
    answer = redirect(url_for("console.now"), 303)
    visitors.end_session(answer)
    return answer  # type: ignore[return-value]


def _back(path: str | None) -> str:
    """To the page that asked for it, which must be one of ours."""
    if path and path.startswith(f"{visitors.PATH}/") and "\\" not in path and "//" not in path and path.isprintable():
        return path
    return url_for("console.now")
