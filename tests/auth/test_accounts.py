"""What a built-in account shows after it signed in."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.accounts import BuiltInAccounts, SessionTokens, derived_key
from proxy.auth.credentials import Authenticated, Credentials, Refused
from proxy.settings import AccountsSettings

KEY = "a key of the tests for accounts, 0123456789abcdef"
OURS = AccountsSettings.model_validate({"key": KEY})
TOKENS, BACKEND = SessionTokens(OURS), BuiltInAccounts(OURS)


DAY_S = 86_400  # some of these are made when this is imported, and a busy machine takes its time


def show(bearer: str) -> Authenticated | Refused | None:
    return BACKEND.authenticate(Credentials(f"Bearer {bearer}", {}))


def sign(key: bytes = b"", **changes: object) -> str:
    claims = {"iss": "mimc-app-proxy", "sub": "alice", "sid": "s1", "exp": int(time.time()) + DAY_S} | changes
    return jwt.encode({k: v for k, v in claims.items() if v is not ...}, key or derived_key(OURS, "access token"))


def test_an_access_token_names_its_user_and_its_session() -> None:
    assert show(TOKENS.access("张三", "s1", datetime.now(UTC))) == Authenticated("张三", None, "accounts", "s1")


def test_an_access_token_ends() -> None:
    now = datetime.now(UTC)  # its life is 900 s
    assert show(TOKENS.access("alice", "s1", now - timedelta(seconds=915))) == Refused("expired")
    assert isinstance(show(TOKENS.access("alice", "s1", now - timedelta(seconds=600))), Authenticated)


def test_an_access_token_that_is_remembered_ends_no_later() -> None:
    real = time.time()
    clock = [real - 120]  # behind, so that its end can come while the library's clock is before it
    backend = BuiltInAccounts(OURS, lambda: clock[0])
    shown = Credentials(f"Bearer {sign(exp=int(real) - 5)}", {})  # over, but by less than clocks may be apart
    first = backend.authenticate(shown)
    assert first == Authenticated("alice", None, "accounts", "s1")
    assert backend.authenticate(shown) is first
    clock[0] = real
    assert backend.authenticate(shown) is not first


@pytest.mark.parametrize(
    "bearer",
    [
        sign(b"another key of 32 bytes and more, surely"),
        sign(KEY.encode()),  # the setting itself signs nothing
        sign(derived_key(OURS, "refresh token")),
        sign(derived_key(OURS, "cookie")),
        sign(sub=...),
        sign(sid=...),
        sign(exp=...),
        sign(sub=""),
        sign(sub="a\nb"),
        sign(sid=1),
        sign(nbf=int(time.time()) + DAY_S),
        jwt.encode({"iss": "mimc-app-proxy", "sub": "alice", "sid": "s1", "exp": 1 << 40}, "", "none"),
        sign().rpartition(".")[0] + ".",
    ],
)
def test_what_says_it_is_ours_and_is_not_is_refused(bearer: str) -> None:
    assert show(bearer) == Refused("invalid")


@pytest.mark.parametrize(
    "bearer",
    [sign(iss="https://id.example.com"), sign(iss=...), "opaque", "a.b.c", "e30.e30.e30"],
)
def test_what_is_not_ours_is_left_to_the_other_backends(bearer: str) -> None:
    assert show(bearer) is None


@pytest.mark.parametrize("authorization", [None, "", "Basic YTpi", "Bearer a b"])
def test_without_a_bearer_there_is_nothing_to_say(authorization: str | None) -> None:
    assert BACKEND.authenticate(Credentials(authorization, {"__Host-app-proxy": "x"})) is None


def test_deeply_nested_claims_are_not_ours() -> None:
    claims = base64.urlsafe_b64encode(b"[" * 20_000).rstrip(b"=").decode()
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256"}).encode()).rstrip(b"=").decode()
    assert show(f"{header}.{claims}.AAAA") is None


def test_a_refresh_token_leads_to_its_session_and_is_kept_as_a_hash() -> None:
    session_id = TOKENS.new_session_id()
    first, second = TOKENS.new_refresh(session_id), TOKENS.new_refresh(session_id)
    assert TOKENS.read_refresh(first[0]) == (session_id, first[1])
    assert first[0] != second[0]
    assert len(first[1]) == 32
    assert first[1].hex() not in first[0]


@given(st.text(max_size=120) | st.binary(max_size=80).map(lambda it: base64.urlsafe_b64encode(it).decode()))
def test_nothing_but_what_we_gave_out_is_a_refresh_token(text: str) -> None:
    assert TOKENS.read_refresh(text) is None


def test_a_refresh_token_is_written_in_one_way_only() -> None:
    token, _ = TOKENS.new_refresh(TOKENS.new_session_id())
    other = SessionTokens(AccountsSettings.model_validate({"key": KEY[::-1]}))
    assert other.read_refresh(token) is None
    another = "A" if token[0] != "A" else "B"
    for changed in (token + "=", token + "\n", token[:-1], another + token[1:], token.replace(token[40], "?", 1)):
        assert TOKENS.read_refresh(changed) is None


def test_no_repr_shows_a_secret() -> None:
    assert KEY not in repr(OURS)
