"""Who may see a page of the console, and who may change something there: one of these stands over each view.

@bp.get("/lanes")
@open_to_look
def lanes() -> Response: ...
"""

from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import ParamSpec

from flask import Response

from proxy.errors import NotAllowed, NotSignedIn
from proxy.web.access import audit
from proxy.web.callers import Caller, require
from proxy.web.console.visitors import require_no_foreign_page, require_own_form, visitor
from proxy.web.limits import Limited

P = ParamSpec("P")
View = Callable[P, Response]


class Rule(StrEnum):
    """What one of these says of a view."""

    LOOK = "look"
    PRIVATE = "private"
    CHANGE = "change"
    OWN_FORM = "own form"
    LOCAL_FORM = "local form"


def open_to_look(view: View[P]) -> View[P]:
    """A page without accounts and messages: for all who reach the operator's listener."""
    return _guarded(Rule.LOOK, view)


def private(view: View[P]) -> View[P]:
    """A page of accounts and messages: for this machine, and for operators who have signed in."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Response:
        require_no_foreign_page()
        require_private()
        return view(*args, **kwargs)

    return _guarded(Rule.PRIVATE, checked)


def changes(view: View[P]) -> View[P]:
    """A form that changes something: for operators who have signed in, where console.writes is on.

    The view says what it has done with `audit_change`.
    """

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Response:
        if not visitor().writes:
            raise NotAllowed("console.writes is off: the console only shows")
        if visitor().operator is None:
            raise NotSignedIn("sign in first")
        require_own_form()
        return view(*args, **kwargs)

    return _guarded(Rule.CHANGE, checked)


def own_form(view: View[P]) -> View[P]:
    """A form that changes nothing but this browser's session, or only looks: for all who see the page."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Response:
        require_own_form()
        return view(*args, **kwargs)

    return _guarded(Rule.OWN_FORM, checked)


def local_form(view: View[P]) -> View[P]:
    """A form that orders something of the emulators: it changes nothing here, and is for this machine alone."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Response:
        if not visitor().is_local:
            raise NotAllowed("the emulators take orders from this machine alone")
        require_own_form()
        return view(*args, **kwargs)

    return _guarded(Rule.LOCAL_FORM, checked)


def rule_of(view: object) -> Rule | None:
    """What was said of this view, None: nothing."""
    found: Rule | None = getattr(view, _RULE, None)
    return found


def require_private() -> None:
    """Raises NotSignedIn, and NotAllowed where there is no way to sign in."""
    who = visitor()
    if who.may_see_all:
        return
    if who.can_sign_in:
        raise NotSignedIn("sign in first")
    raise NotAllowed("this page is for operators: make an account with `app-proxy operators add`")


def audit_change(what: str, **facts: str | int | None) -> None:
    """One line of the log: what the operator did."""
    audit(what, operator=visitor().operator, via="console", **facts)


def _guarded(rule: Rule, view: View[P]) -> View[P]:
    guarded = require(Caller.OPERATOR, Limited.OPERATOR)(view)
    vars(guarded)[_RULE] = rule
    return guarded


_RULE = "console_rule"
