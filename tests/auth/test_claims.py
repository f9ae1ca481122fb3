"""Rules for tokens whose signature is good, and their reading: pure, so with any time and any JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.claims import MOST_LIFE_S, ClaimRules, Proven, judge
from proxy.auth.credentials import Refused, account_of
from proxy.auth.jws import Malformed, parse_jws
from proxy.auth.jwt_bearer import REASONS
from tests.auth.corpus import b64

NOW = 1_800_000_000.0
PLAIN = ClaimRules(issuer=None, audience=None, leeway_s=10, account_claim="sub", account_prefix="")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
CLAIMS = st.dictionaries(st.sampled_from(["sub", "exp", "nbf", "iat", "iss", "aud", "user"]), JSON)


@pytest.mark.parametrize(
    ("times", "verdict"),
    [
        ({"exp": NOW + 1}, Proven("alice", NOW + 1)),
        ({"exp": NOW - 9.9}, Proven("alice", NOW - 9.9)),
        ({"exp": NOW - 10}, Refused("expired")),
        ({"exp": NOW + MOST_LIFE_S}, Proven("alice", NOW + MOST_LIFE_S)),
        ({"exp": NOW + MOST_LIFE_S + 1}, Refused("expires too late")),
        ({"exp": NOW + 1, "nbf": NOW + 10, "iat": NOW + 10}, Proven("alice", NOW + 1)),
        ({"exp": NOW + 1, "nbf": NOW + 10.1}, Refused("not yet valid")),
        ({"exp": NOW + 1, "iat": NOW + 10.1}, Refused("not yet valid")),
        ({}, Refused("exp missing")),
        ({"exp": 10**400}, Refused("no times")),
        ({"exp": True}, Refused("no times")),
    ],
)
def test_times_are_compared_with_the_clock_and_its_leeway(times: dict[str, float], verdict: object) -> None:
    assert judge({"sub": "alice", **times}, PLAIN, NOW) == verdict


@pytest.mark.parametrize(
    ("path", "prefix", "claims", "account"),
    [
        ("sub", "", {"sub": "alice"}, "alice"),
        ("sub", "x:", {"sub": "alice"}, "x:alice"),
        ("sub", "x:", {"sub": ""}, None),
        ("sub", "", {"sub": 7}, None),
        ("user.id", "", {"user": {"id": 7}}, "7"),
        ("user.id", "", {"user": {"id": True}}, None),
        ("user.id", "", {"user": {"id": 7.5}}, None),
        ("user.id", "", {"user": [7]}, None),
        ("user.id", "", {"user.id": "first", "user": {"id": "second"}}, "first"),
        ("user_id", "a" * 64, {"user_id": "b" * 192}, "a" * 64 + "b" * 192),
        ("user_id", "a" * 64, {"user_id": "b" * 193}, None),
    ],
)
def test_the_account_is_where_the_settings_say(
    path: str, prefix: str, claims: dict[str, object], account: str | None
) -> None:
    rules = ClaimRules(issuer=None, audience=None, leeway_s=0, account_claim=path, account_prefix=prefix)
    verdict = judge({**claims, "exp": NOW + 1}, rules, NOW)
    assert verdict == (Refused("no account") if account is None else Proven(account, NOW + 1))


@given(
    CLAIMS, st.sampled_from([PLAIN, ClaimRules("i", "a", 0, "user.id", "p:"), ClaimRules("i", None, 300, "user", "")])
)
def test_any_claims_are_an_account_or_a_reason_of_ours(claims: dict[str, object], rules: ClaimRules) -> None:
    match judge(claims, rules, NOW):
        case Proven(account, until):
            assert account == account_of(account)
            assert abs(until - NOW) <= MOST_LIFE_S + 300
        case Refused(reason):
            assert reason in REASONS


@given(st.dictionaries(st.text(max_size=4), JSON), CLAIMS, st.binary(max_size=40))
def test_any_object_is_read_as_python_reads_it_or_not_at_all(
    header: dict[str, object], claims: dict[str, object], signature: bytes
) -> None:
    text = f"{b64(json.dumps({'alg': 'HS256'} | header))}.{b64(json.dumps(claims))}.{b64(signature)}"
    try:
        found = parse_jws(text)
    except Malformed:
        return
    assert (json.dumps(found.claims), found.signature) == (json.dumps(claims), signature)


@given(st.text(st.characters(codec="ascii"), max_size=60) | st.binary(max_size=60).map(lambda raw: f"{b64(raw)}.e30."))
def test_any_text_is_read_or_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        parse_jws(text)
