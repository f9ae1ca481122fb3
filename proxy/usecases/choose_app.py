"""Which app a signed-in user asks a token of; the session has decided for which account."""

from collections.abc import Mapping

from proxy.errors import BadRequest, NotAllowed, NotFound
from proxy.settings import AppSettings


def choose_app(
    asked: Mapping[str, object], account: str, bound_app: str | None, apps: Mapping[str, AppSettings]
) -> str:
    """The section whose token is given to `account`, which comes from the session.

    `asked` is the client's JSON object: its "appAccount" may only repeat the account, its "appId" chooses the app.
    Everything else in it, an appKey of an old client too, is not looked at. `apps` are the sections by name.
    Raises NotAllowed (another account or app), NotFound (an app that is not configured) and BadRequest.
    """
    _only_the_caller(asked.get("appAccount"), account)
    return _section(asked.get("appId"), bound_app, apps)


def _only_the_caller(named: object, account: str) -> None:
    if named is None:
        return
    if not isinstance(named, str):
        raise BadRequest("appAccount", expected="a string", got=named)
    if named != account:
        raise NotAllowed("appAccount: is not the signed-in user")


def _section(named: object, bound_app: str | None, apps: Mapping[str, AppSettings]) -> str:
    """By the appId of the body, else the app that the session is bound to, else the only one there is."""
    if named is None:
        if bound_app is not None:
            return bound_app
        if len({app.app_id for app in apps.values()}) == 1:  # sections of one appId share its credentials
            return next(iter(apps))
        raise BadRequest("appId", expected="the appId of one of the configured apps", got=...)
    app_id = _app_id(named)
    section = next((name for name, app in apps.items() if app.app_id == app_id), None)
    if section is None:
        raise NotFound("appId: is not configured here")
    if bound_app is not None and apps[bound_app].app_id != app_id:
        raise NotAllowed("appId: is not the app of this session")
    return bound_app or section


def _app_id(named: object) -> str:
    """Clients send it as a number or as text; it exceeds 2^53, so a float is already wrong."""
    if isinstance(named, str):
        return named
    if isinstance(named, int) and not isinstance(named, bool):
        return str(named)
    raise BadRequest("appId", expected="a string or an integer", got=named)
