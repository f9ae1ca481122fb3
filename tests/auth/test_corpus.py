"""The negative corpus through the token route, and what a bare `jwt.decode` would have made of it.

pytest -s tests/auth/test_corpus.py     also prints the table
"""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from proxy.channels.mipush.wire import MipushWire
from proxy.domain.outcomes import Impossible
from tests.auth.corpus import AUD_SECRET, CASES, ELSEWHERE, PUBLIC_PEM, SECRET, Case, settings
from tests.channels.pushes import mipush_settings, to_account
from tests.web.world import World
from tests.web.world import settings as world_settings

PATH = "/api/account/token"
NEGATIVE = [case for case in CASES if case.status != 200]
GOOD = [case for case in CASES if case.status == 200]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        yield World(world_settings(auth={"jwt": settings(Path(folder))}))


@pytest.mark.parametrize("case", NEGATIVE, ids=lambda case: case.name)
def test_a_bad_bearer_gets_its_status_in_the_envelope_and_none_of_its_content_back(world: World, case: Case) -> None:
    world.tokens.calls.clear()
    answer = world.client.post(PATH, headers={"Authorization": case.authorization})
    assert answer.status_code == case.status
    assert answer.json == {"code": case.status, "message": "sign in first", "data": None}
    assert world.tokens.calls == []
    told = answer.get_data(as_text=True) + str(answer.headers)
    assert "Traceback" not in told
    assert not [part for part in case.bearer.split(".") if len(part) > 7 and part in told]


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_an_odd_bearer_that_is_in_order_gets_its_account_a_token(world: World, case: Case) -> None:
    for _ in range(2):  # the second time from memory
        world.tokens.calls.clear()
        assert world.client.post(PATH, headers={"Authorization": case.authorization}).status_code == 200
        assert world.tokens.calls == [("main", case.account)]


@pytest.mark.parametrize("place", list(ELSEWHERE))
def test_a_good_token_proves_nothing_where_none_belongs(world: World, place: str) -> None:
    world.tokens.calls.clear()
    answer = world.client.post(PATH, **ELSEWHERE[place])
    assert (answer.status_code, world.tokens.calls) == (401, [])


def test_nothing_that_was_refused_once_is_taken_later(world: World) -> None:
    for case in NEGATIVE:
        assert world.client.post(PATH, headers={"Authorization": case.authorization}).status_code == case.status
    assert {world.client.post(PATH, headers={"Authorization": case.authorization}).status_code for case in GOOD} == {
        200
    }


def test_a_comma_is_fine_in_an_account_and_never_in_an_address_of_mi_push(world: World) -> None:
    case = next(case for case in GOOD if case.account == "a,b")
    assert world.client.post(PATH, headers={"Authorization": case.authorization}).status_code == 200
    assert MipushWire(mipush_settings()).refuse(to_account("a,b")) == Impossible("comma in the address")


# what others would have done


Decode = Callable[[str, Any], Any]


def as_the_token_says(text: str, key: Any) -> Any:
    """The mistake of RFC 8725, 2.1: the algorithm is read from the token."""
    return jwt.decode(text, key, algorithms=[jwt.get_unverified_header(text)["alg"]])


def as_the_manual_says(text: str, key: Any) -> Any:
    """PyJWT's first example."""
    return jwt.decode(text, key, algorithms=["HS256"])


def unverified(text: str, key: Any) -> Any:
    """What many a debugging session leaves behind."""
    return jwt.decode(text, key, options={"verify_signature": False})


NAIVE: dict[str, Decode] = {
    "jwt.decode, alg of the header": as_the_token_says,
    'jwt.decode, ["HS256"]': as_the_manual_says,
    "jwt.decode, verify_signature False": unverified,
}


def lets_through(decode: Decode, case: Case) -> bool:
    """Would a server that hands `sub` on have asked MIMC for a token? A crash (500) counts as a refusal."""
    keys = {"secret": SECRET, "aud": AUD_SECRET, "public": PUBLIC_PEM, "ec": PUBLIC_PEM, "ed": PUBLIC_PEM}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of short keys
            return "sub" in decode(case.bearer.strip(), keys[case.key])
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError, KeyError, AttributeError):
        return False


def test_the_corpus_is_large_and_a_naive_decode_would_have_let_a_part_of_it_through() -> None:
    through = {name: [case.name for case in NEGATIVE if lets_through(decode, case)] for name, decode in NAIVE.items()}
    lines = [f"{len(CASES)} cases: {len(NEGATIVE)} to be refused, {len(GOOD)} to be taken", ""]
    lines += ["| decoder | lets through of " + str(len(NEGATIVE)) + " |", "|---|---|", "| this service | 0 |"]
    lines += [f"| {name} | {len(found)} |" for name, found in through.items()]
    for name, found in through.items():
        lines += ["", f"{name}:", *(f"  {case}" for case in found)]
    print("\n" + "\n".join(lines))  # noqa: T201
    assert len(NEGATIVE) >= 300
    assert len({case.name for case in CASES}) == len(CASES)
    for name, few in zip(NAIVE, (30, 30, 100), strict=True):
        assert len(through[name]) >= few, name
    assert "sub twice" in through['jwt.decode, ["HS256"]']
