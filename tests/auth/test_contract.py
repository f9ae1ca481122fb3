"""What every way of proving a user keeps to, whatever it asks for and wherever it looks."""

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from proxy.auth import BACKENDS, Authenticated, Backend, Credentials, Refused, Unavailable
from proxy.auth.accounts import SessionTokens
from proxy.settings import AccountsSettings, AuthSettings
from tests.auth.endpoint import Asked, Reply, endpoint

KEY = "a key of the tests, never used anywhere else 0123456789"
NOWHERE = "http://127.0.0.1:1/"


@dataclass(frozen=True)
class Way:
    """A backend's row. `shows` makes credentials for a user of that name, `stranger` are some of its kind that prove
    nobody, `foreign` are of another kind. Under `down`, settings and credentials, it cannot tell."""

    settings: Mapping[str, Any]
    shows: Callable[[str], Credentials]
    stranger: Credentials
    foreign: Credentials
    down: tuple[Mapping[str, Any], Credentials] | None


def bearer(text: str) -> Credentials:
    return Credentials(f"Bearer {text}", {})


def an_issuer() -> Way:
    def shows(account: str) -> Credentials:
        return bearer(jwt.encode({"sub": account, "exp": int(time.time()) + 600}, KEY, "HS256"))

    claims = {"sub": "alice", "exp": int(time.time()) + 600}
    of_unknown_key = jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": "1"})
    return Way(
        settings={"jwt": {"own": {"secret": KEY}}},
        shows=shows,
        stranger=bearer(jwt.encode(claims, KEY[::-1], "HS256")),
        foreign=Credentials("Basic YTpi", {"sessionid": "abc"}),
        down=({"jwt": {"own": {"jwks_url": NOWHERE}}}, bearer(of_unknown_key)),
    )


def a_url(url: str) -> Way:
    def shows(account: str) -> Credentials:
        return bearer(base64.b64encode(json.dumps({"account": account}).encode()).decode())

    return Way(
        settings={"introspection": {"url": url, "cookies": ["sessionid"]}},
        shows=shows,
        stranger=Credentials(None, {"sessionid": "unknown"}),
        foreign=Credentials(None, {"other": "abc"}),
        down=({"introspection": {"url": NOWHERE}}, shows("alice")),
    )


def built_in_accounts() -> Way:
    tokens = SessionTokens(AccountsSettings.model_validate({"key": KEY}))
    others = SessionTokens(AccountsSettings.model_validate({"key": KEY[::-1]}))
    session_id = tokens.new_session_id()
    return Way(
        settings={"accounts": {"key": KEY}},
        shows=lambda account: bearer(tokens.access(account, session_id, datetime.now(UTC))),
        stranger=bearer(others.access("alice", session_id, datetime.now(UTC))),
        foreign=bearer(jwt.encode({"sub": "alice", "exp": int(time.time()) + 600}, KEY, "HS256")),
        down=None,  # it asks no service
    )


def whoami(asked: Asked) -> Reply:
    """Knows each user by a bearer that `a_url` made for them."""
    try:
        known = json.loads(base64.b64decode(asked.headers["authorization"].removeprefix("Bearer "), validate=True))
        return Reply(200, json.dumps({"account": known["account"]}).encode())
    except (KeyError, ValueError, TypeError):
        return Reply(401)


@pytest.fixture(scope="module")
def ways() -> Iterator[Mapping[str, Way]]:
    with endpoint(whoami) as site:
        yield {"jwt": an_issuer(), "introspection": a_url(site.url), "accounts": built_in_accounts()}


@pytest.fixture(scope="module", params=sorted(BACKENDS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def way(ways: Mapping[str, Way], name: str) -> Way:
    return ways[name]


@pytest.fixture(scope="module")
def backend(way: Way, name: str) -> Backend:
    return built(name, way.settings)


def built(name: str, settings: Mapping[str, Any]) -> Backend:
    backend = BACKENDS[name](AuthSettings.model_validate(settings))
    assert backend is not None
    return backend


def test_every_backend_has_a_row(ways: Mapping[str, Way]) -> None:
    assert ways.keys() == BACKENDS.keys()


def test_without_its_section_a_backend_is_off(name: str, ways: Mapping[str, Way]) -> None:
    other = next(way for own, way in ways.items() if own != name)
    assert BACKENDS[name](AuthSettings.model_validate(other.settings)) is None


@pytest.mark.parametrize("account", ["alice", "1000", "\u5f20\u4e09", "a,b", "a" * 256, "\u540d" * 85])
def test_a_user_is_known_by_their_account(backend: Backend, way: Way, name: str, account: str) -> None:
    verdict = backend.authenticate(way.shows(account))
    assert isinstance(verdict, Authenticated)
    assert (verdict.app_account, verdict.bound_app, verdict.backend) == (account, None, name)
    assert not verdict.by_cookie


def test_one_name_typed_on_two_systems_is_one_account(backend: Backend, way: Way) -> None:
    verdicts = [backend.authenticate(way.shows(text)) for text in ("e\u0301", "\u00e9")]
    assert [it.app_account for it in verdicts if isinstance(it, Authenticated)] == ["\u00e9"] * 2


@pytest.mark.parametrize(
    "account", ["", "a\nb", "\x00", "\u0085", "\ud800", "a\u202eb", "\u2066", "a" * 257, "a" * 5000]
)
def test_what_cannot_be_an_account_is_refused_however_well_proved(backend: Backend, way: Way, account: str) -> None:
    assert isinstance(backend.authenticate(way.shows(account)), Refused)


def test_who_proves_nothing_is_refused(backend: Backend, way: Way) -> None:
    assert isinstance(backend.authenticate(way.stranger), Refused)


def test_credentials_of_another_kind_are_left_to_the_next(backend: Backend, way: Way) -> None:
    assert backend.authenticate(way.foreign) is None
    assert backend.authenticate(Credentials(None, {})) is None


def test_who_cannot_tell_says_so_and_neither_lets_in_nor_turns_away(name: str, way: Way) -> None:
    if way.down is not None:
        settings, shown = way.down
        assert isinstance(built(name, settings).authenticate(shown), Unavailable)


def test_threads_share_a_backend(backend: Backend, way: Way) -> None:
    accounts = [f"user-{number % 5}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda account: backend.authenticate(way.shows(account)), accounts))
    assert [it.app_account for it in verdicts if isinstance(it, Authenticated)] == accounts


SOME = st.text() | st.text(st.characters(codec="latin-1")) | st.binary().map(lambda raw: base64.b64encode(raw).decode())


@trying(max_examples=60, deadline=None)
@given(scheme=st.sampled_from(["", "Bearer ", "bearer  ", "Basic "]), text=SOME, cookie=SOME)
def test_any_credentials_are_answered_and_nothing_of_them_is_in_the_reason(
    backend: Backend, scheme: str, text: str, cookie: str
) -> None:
    for shown in (Credentials(scheme + text, {}), Credentials(None, {"sessionid": cookie, "session": text})):
        match backend.authenticate(shown):
            case Refused(reason):
                assert len(reason) < 64
                assert len(text) < 8 or text not in reason
            case verdict:
                assert verdict is None
