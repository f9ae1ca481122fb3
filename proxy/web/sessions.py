"""Sign-in for the built-in accounts. Where they are off there is nothing here but `me`."""

from flask import Blueprint, Response, request

from proxy.auth import account_of
from proxy.auth.accounts import BACKEND
from proxy.auth.sign_in import SignedIn, SignIns
from proxy.domain.accounts import MAX_PASSWORD_BYTES, fits
from proxy.errors import BadRequest, NotAllowed, NotFound, NotSignedIn
from proxy.usecases.register_device import check_device_id, choose_section
from proxy.web import current_services
from proxy.web.access import add_log_context, audit, audit_refusal
from proxy.web.body import read_object
from proxy.web.callers import Caller, current_user, require
from proxy.web.cookies import require_browser_care
from proxy.web.envelope import envelope
from proxy.web.guards import begin_browser_session, end_browser_session
from proxy.web.limits import Limited, remember_sign_in, share_address, spend_sign_in

bp = Blueprint("sessions", __name__, url_prefix="/auth")


@bp.post("/login")
@require(Caller.ANYONE, Limited.SIGN_IN)
def login() -> Response:
    """A pair of tokens, or with `"cookie": true` a session cookie and no token that a page's code could lose."""
    services, sign_ins = current_services(), _sign_ins()
    asked = read_object(request.environ)
    account, password, by_cookie = _account(asked), _password(asked), _wants_cookie(asked)
    if by_cookie:
        require_browser_care(request)
    app, device_id = _app(asked), _device_id(asked)
    spend_sign_in(account)
    try:
        signed_in = sign_ins.sign_in(
            account, password, services.now(), device_id=device_id, app=app, by_cookie=by_cookie
        )
    except NotSignedIn:
        audit_refusal(BACKEND, "sign-in", **sign_ins.name_for_log(account))
        raise
    remember_sign_in(account)
    audit("signed in", backend=BACKEND, account=account)
    if by_cookie:
        begin_browser_session(signed_in.session)
    return _answer(signed_in)


@bp.post("/refresh")
@require(Caller.ANYONE, Limited.TOKEN)
def refresh() -> Response:
    """The next pair for a refresh token, which is used up by it."""
    sign_ins = _sign_ins()
    shown = read_object(request.environ).get("refresh_token")
    if not isinstance(shown, str):
        raise BadRequest("refresh_token", expected="a string", got=_got(shown))
    share_address(Limited.TOKEN)
    try:
        return _answer(sign_ins.refresh(shown, current_services().now()))
    except NotSignedIn as error:
        audit_refusal(BACKEND, f"refresh: {error.message}")
        raise


@bp.post("/logout")
@require(Caller.USER, Limited.CLIENT)
def logout() -> Response:
    """Ends the session, whatever was given out in it, and its device's registration."""
    services, sign_ins, user = current_services(), _sign_ins(), current_user()
    if user.backend != BACKEND or user.session_id is None:
        raise NotAllowed("signed in elsewhere: sign out there")
    device_id = _device_id(read_object(request.environ))
    sign_ins.sign_out(
        user.app_account,
        user.session_id,
        services.now(),
        devices=services.devices,
        apps=list(services.settings.apps),
        device_id=device_id,
    )
    audit("signed out", backend=BACKEND, account=user.app_account)
    if user.by_cookie:
        end_browser_session()
    return envelope(200)


@bp.get("/me")
@require(Caller.USER, Limited.CLIENT)
def me() -> Response:
    """The user who is calling, whichever backend has proven them."""
    user = current_user()
    return envelope(200, data={"account": user.app_account, "backend": user.backend, "app": user.bound_app})


def _sign_ins() -> SignIns:
    sign_ins = current_services().sign_ins
    if sign_ins is None:
        raise NotFound("the built-in accounts are off")
    return sign_ins


def _answer(signed_in: SignedIn) -> Response:
    shown: dict[str, object] = {"account": signed_in.session.account, "expires_in": int(signed_in.life.total_seconds())}
    if signed_in.access_token is not None:
        shown |= {"access_token": signed_in.access_token, "refresh_token": signed_in.refresh_token}
    return envelope(200, data=shown)


def _account(asked: dict[str, object]) -> str:
    account = account_of(asked.get("account"))
    if account is None:
        raise BadRequest("account", expected="an account", got=_got(asked.get("account")))
    return account


def _password(asked: dict[str, object]) -> str:
    password = asked.get("password")
    expected = f"1 to {MAX_PASSWORD_BYTES} bytes of text"
    if not isinstance(password, str):
        raise BadRequest("password", expected=expected, got=_got(password))
    if not fits(password):
        raise BadRequest("password", expected=expected, got=password)
    return password


def _wants_cookie(asked: dict[str, object]) -> bool:
    wanted = asked.get("cookie", False)
    if not isinstance(wanted, bool):
        raise BadRequest("cookie", expected="true or false", got=wanted)
    return wanted


def _app(asked: dict[str, object]) -> str | None:
    if asked.get("app") is None:
        return None
    app = choose_section(asked["app"], None, current_services().settings.apps)
    add_log_context(app=app)
    return app


def _device_id(asked: dict[str, object]) -> str | None:
    device_id = asked.get("device_id")
    if device_id is None:
        return None
    if not isinstance(device_id, str):
        raise BadRequest("device_id", expected="a string", got=device_id)
    check_device_id(device_id)
    return device_id


def _got(value: object) -> object:
    """An absent member is nothing, not null."""
    return ... if value is None else value
