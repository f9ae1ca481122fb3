"""What MIMC answers, as all processes know of it."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from proxy.domain.monitoring import TokenFacts
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.server.token_facts import token_commands, token_details
from tests.store.samples import NOON, SECOND, raw

MINUTE = 60 * SECOND
WHY = "MIMC's code 401"


@pytest.fixture
def tokens(store: Store) -> Iterator[Store]:
    """The key is not one app's, so that others' must not be in it."""
    raw(store, "DEL", keys.tokens())
    yield store
    raw(store, "DEL", keys.tokens())


def keep(store: Store, facts: TokenFacts) -> None:
    store.call(lambda redis: token_commands(redis, facts).execute())


def details(store: Store, now: datetime = NOON) -> dict[str, str]:
    found: dict[str, str] = store.call(lambda redis: token_details(redis, now))
    return found


def test_an_app_that_never_got_a_token_is_named_with_mimc_s_reason_until_it_gets_one(tokens: Store) -> None:
    keep(tokens, TokenFacts(failed={"main": (NOON, WHY)}))
    keep(tokens, TokenFacts(given={"other": NOON}))
    assert details(tokens) == {
        "tokens of main": "none was given within an hour; at 2026-11-23 12:00:00 UTC the TokenService: MIMC's code 401"
    }
    assert 0 < raw(tokens, "TTL", keys.tokens()) <= 3600
    keep(tokens, TokenFacts(given={"main": NOON}))
    assert details(tokens) == {}


@pytest.mark.parametrize(("after", "is_named"), [(59 * SECOND, False), (MINUTE, True)])
def test_an_app_fails_once_no_process_got_a_token_for_a_minute(tokens: Store, after: timedelta, is_named: bool) -> None:
    keep(tokens, TokenFacts(given={"main": NOON}, failed={"main": (NOON + after, WHY)}))
    assert ("tokens of main" in details(tokens, NOON + after)) == is_named
    assert details(tokens, NOON + after + timedelta(hours=1)) == {}


def test_an_echo_is_named_for_an_hour(tokens: Store) -> None:
    keep(tokens, TokenFacts(echoes={("main", "answer"): NOON}))
    assert details(tokens) == {
        "echo of main": "our appKey or appSecret is in the TokenService's answers (answer), "
        "seen at 2026-11-23 12:00:00 UTC"
    }
    assert details(tokens, NOON + timedelta(hours=1)) == {}
