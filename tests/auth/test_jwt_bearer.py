"""Bearers signed by the developer's own system."""

import base64
import json
import time
from itertools import repeat

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth import Authenticated, Credentials, Refused, Unavailable, build_authenticator
from proxy.auth.jwt_bearer import JwtBearer
from proxy.settings import AuthSettings, JwtSettings

KEY = "a key of the tests, never used anywhere else 0123456789"
BACKEND = JwtBearer({"own": JwtSettings.model_validate({"secret": KEY})})


def signed(claims: dict[str, object], key: str = KEY, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm)


def later(seconds: float = 86_400) -> int:
    return int(time.time() + seconds)


def judge(token: str, scheme: str = "Bearer ") -> Authenticated | Refused | Unavailable | None:
    return BACKEND.authenticate(Credentials(scheme + token, {}))


@pytest.mark.parametrize(
    "account",
    [
        "1000",
        "张三",
        "a@b.example",
        "a" * 256,
        "名" * 85,
        " spaced ",
    ],
)
def test_sub_is_the_account_as_it_is_written(account: str) -> None:
    assert judge(signed({"sub": account, "exp": later()})) == Authenticated(account, None, "jwt")


@pytest.mark.parametrize("scheme", ["bearer ", "BEARER  ", "  Bearer "])
def test_the_scheme_may_be_written_as_one_likes(scheme: str) -> None:
    assert isinstance(judge(signed({"sub": "1000", "exp": later()}), scheme), Authenticated)


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "1000"},
        {"sub": "1000", "exp": later(-60)},
        {"sub": "1000", "exp": "soon"},
        {"sub": "1000", "exp": float("inf")},
        {"sub": "1000", "exp": later(), "nbf": later(86_400)},
        {"sub": "1000", "exp": later(), "iat": later(86_400)},
        {"sub": "1000", "exp": later(), "aud": "another service"},
        {"exp": later()},
        {"sub": "", "exp": later()},
        {"sub": "a" * 257, "exp": later()},
        {"sub": "名" * 86, "exp": later()},
        {"sub": "a\nb", "exp": later()},
        {"sub": "a\u0085b", "exp": later()},
        {"sub": "\ud800", "exp": later()},
    ],
)
def test_a_signed_token_that_proves_no_account_is_refused(claims: dict[str, object]) -> None:
    assert isinstance(judge(signed(claims)), Refused)


@pytest.mark.parametrize("sub", [None, 1000, True, ["1000"], {"a": 1}])
def test_an_account_is_text(sub: object) -> None:
    payload = json.dumps({"sub": sub, "exp": later()}).encode()
    assert isinstance(judge(jwt.api_jws.encode(payload, KEY, "HS256")), Refused)


def test_leeway_covers_clocks_that_differ() -> None:
    assert isinstance(judge(signed({"sub": "1000", "exp": later(-5)})), Authenticated)


@pytest.mark.parametrize(
    "token",
    [
        signed({"sub": "1000", "exp": later()}, key=KEY[::-1]),
        signed({"sub": "1000", "exp": later()}, algorithm="HS384", key=KEY * 2),
        jwt.encode({"sub": "1000", "exp": later()}, "", "none"),
        signed({"sub": "1000", "exp": later()})[:-2],
        signed({"sub": "1000", "exp": later()}).rpartition(".")[0] + ".",
        "a.b.c",
        "e30.e30.e30",
        base64.urlsafe_b64encode(b"[" * 6000).decode().rstrip("=") + ".e30.AA",
        base64.urlsafe_b64encode(b'{"alg":"HS256","kid":' + b"9" * 5000 + b"}").decode().rstrip("=") + ".e30.AA",
    ],
    ids=repeat(""),  # tokens differ by the second
)
def test_what_we_would_not_have_signed_is_refused(token: str) -> None:
    verdict = judge(token)
    assert isinstance(verdict, Refused)
    assert token not in verdict.reason


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode() + ".e30.AA"))
def test_any_header_is_answered(text: str) -> None:
    assert not isinstance(BACKEND.authenticate(Credentials(text, {})), Authenticated)
    assert not isinstance(judge(text), Authenticated)


def test_without_a_bearer_another_backend_is_asked() -> None:
    assert BACKEND.authenticate(Credentials(None, {"token": "x"})) is None


def test_the_settings_say_which_backends_are_asked() -> None:
    authenticator = build_authenticator(AuthSettings.model_validate({"jwt": {"own": {"secret": KEY}}}))
    good = Credentials("Bearer " + signed({"sub": "1000", "exp": later()}), {})
    assert authenticator.authenticate(good) == Authenticated("1000", None, "jwt")
    assert authenticator.authenticate(Credentials(None, {})) == Refused("no credentials that any backend knows")
