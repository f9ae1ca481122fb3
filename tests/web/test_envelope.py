"""How a refusal of the domain becomes an HTTP answer."""

import pytest
from flask import Flask, g

from proxy.errors import BadCallback, BadField, BadRequest, NotAllowed, NotFound, NotPossible, NotSignedIn, Refusal
from proxy.web.console.emulated import EmulatorsAway
from proxy.web.envelope import HttpRefusal, answer_errors, status_of

REFUSALS: list[tuple[Refusal, int]] = [
    (BadField("a", expected="text", got=1), 400),
    (BadCallback("a", expected="text", got=1), 400),
    (BadRequest("a", expected="text", got=1), 400),
    (NotSignedIn("sign in first"), 401),
    (NotAllowed("a: is another user's"), 403),
    (NotFound("a: is not configured here"), 404),
    (NotPossible("a: the app cannot"), 409),
    (EmulatorsAway("the emulated apns does not answer"), 503),
    (HttpRefusal(429, "too many calls", {"Retry-After": "7"}), 429),
]


def kinds_of(kind: type[Refusal]) -> set[type[Refusal]]:
    return {kind}.union(*(kinds_of(narrower) for narrower in kind.__subclasses__()))


def test_every_kind_of_refusal_has_a_status() -> None:
    assert {type(refusal) for refusal, _ in REFUSALS} == kinds_of(Refusal) - {Refusal}
    assert [(type(refusal), status_of(refusal)) for refusal, _ in REFUSALS] == [
        (type(refusal), status) for refusal, status in REFUSALS
    ]


@pytest.mark.parametrize(("refusal", "status"), REFUSALS)
def test_a_refusal_is_answered_in_the_envelope(refusal: Refusal, status: int) -> None:
    app = Flask("envelope")
    answer_errors(app)

    @app.before_request
    def begin() -> None:
        g.facts = {}

    @app.get("/")
    def refuse() -> str:
        raise refusal

    answer = app.test_client().get("/")
    assert answer.json == {"code": status, "message": refusal.message, "data": None}
    assert answer.status_code == status
    assert answer.headers.get("Retry-After") == ("7" if status == 429 else None)
    assert answer.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)
