"""What a client that repeats a call is answered."""

import pytest
from flask import Response

from proxy.auth import Authenticated
from proxy.domain.api_keys import ApiKey
from proxy.domain.idempotency import Answered, Call, Different, MayHaveBeenSent, Running
from proxy.errors import BadRequest, StoreUnavailable
from proxy.web import current_notes
from proxy.web.idempotency import call_asked, known_answer, spend_key
from tests.web.world import NOW, World

ANN, BOT = Authenticated("ann", None, "jwt"), ApiKey("0123456789abcdef", "bot", "main", "ann", frozenset(), NOW)


def asked(
    key: str | None = '"k1"', path: str = "/api/topic/77", caller: Authenticated | ApiKey = ANN, body: bytes = b"x"
) -> Call | None:
    headers = {} if key is None else {"Idempotency-Key": key}
    with World().app.test_request_context(path, method="PUT", headers=headers):
        return call_asked(caller, "main", body)


def name_of(call: Call | None) -> str:
    assert call
    return call.name


def test_a_call_without_the_header_is_a_call_as_any_other() -> None:
    assert asked(None) is None


def test_a_call_is_the_same_with_quotes_or_a_slash_and_another_with_another_caller() -> None:
    assert asked() == asked("k1") == asked(path="/api/topic/77/")
    assert len({name_of(asked()), name_of(asked(caller=BOT)), name_of(asked("k2"))}) == 3


def test_body_and_query_are_what_a_key_was_used_for() -> None:
    one, body, query = asked(), asked(body=b"y"), asked(path="/api/topic/77?a=b")
    assert name_of(one) == name_of(body) == name_of(query)
    assert len({it.content for it in (one, body, query) if it}) == 3


@pytest.mark.parametrize("key", ["", "a, b", '"a", "b"', "a" * 256])
def test_what_is_no_key_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(BadRequest, match="Idempotency-Key: expected one text of 1 to 255 characters") as refused:
        asked(key)
    assert "a, b" not in refused.value.message


def shown(known: Answered | Running | Different | MayHaveBeenSent) -> Response:
    with World().app.test_request_context():
        current_notes().facts = {}
        return known_answer(known)


def test_the_first_answer_comes_again_as_it_was() -> None:
    answer = shown(Answered(200, {"content-type": "text/x", "content-encoding": "gzip"}, b"\x1f\x00"))
    assert (answer.status_code, answer.get_data()) == (200, b"\x1f\x00")
    assert (answer.headers["Content-Type"], answer.headers["Content-Encoding"]) == ("text/x", "gzip")
    assert "Content-Type" not in shown(Answered(204, {}, b"")).headers


@pytest.mark.parametrize(
    ("known", "status", "words"),
    [
        (Answered(200, {}, None), 200, "too long to keep"),
        (Running(1500), 409, "under way"),
        (Different(), 422, "another request"),
        (MayHaveBeenSent(), 504, "may have been sent"),
    ],
)
def test_why_there_is_no_answer_is_said_in_the_envelope(
    known: Answered | Running | Different | MayHaveBeenSent, status: int, words: str
) -> None:
    answer = shown(known)
    assert answer.status_code == status
    assert answer.json
    assert answer.json["code"] == status
    assert words in answer.json["message"]
    assert answer.headers.get("Retry-After") == ("2" if status == 409 else None)


def test_without_the_counters_a_key_is_not_counted() -> None:
    world = World()
    world.admission.failure = StoreUnavailable("the store did not answer")
    with world.app.test_request_context():
        current_notes().facts = {}
        spend_key("ann")
        assert current_notes().facts == {"limiter": "unavailable"}
