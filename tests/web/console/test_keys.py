"""The page of API keys: what each may do, how old it is, when it was used; never what lets anyone in."""

import re
import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.domain.api_keys import KEY_BYTES, ApiKey, Scope, hash_of, id_of, new_bearer
from proxy.store.connection import Store
from proxy.store.users.api_keys import RedisApiKeys
from tests.web.console.site import Site
from tests.web.world import NOW

PATH = "/console/keys"
BEARER = new_bearer(secrets.token_bytes(KEY_BYTES))


@pytest.fixture
def key(store: Store) -> Iterator[ApiKey]:
    scopes = frozenset({Scope.PUSH_SEND, Scope.TOPICS_ADMIN})
    made = ApiKey(id_of(hash_of(BEARER)), "order-bot", "main", "orders", scopes, NOW - timedelta(days=200))
    keys = RedisApiKeys(store)
    assert keys.add(made, BEARER)
    yield made
    keys.revoke(made.id)


def cells(html: str) -> list[str]:
    row = re.search(r'<th scope="row">order-bot</th>(.*?)</tr>', html, re.DOTALL)
    assert row
    return [re.sub(r"<[^>]*>", "", it).strip() for it in re.findall(r"<td[^>]*>(.*?)</td>", row[1], re.DOTALL)]


def test_a_key_has_its_scopes_age_and_last_use(tmp_path: Path, store: Store, key: ApiKey) -> None:
    browser = Site(tmp_path, store).browser()
    assert cells(browser.page(PATH)) == ["main", "orders", "push:send topics:admin", "200 days", "never", key.id]
    RedisApiKeys(store).find(BEARER, NOW - timedelta(minutes=20))
    assert cells(browser.page(PATH))[4] == "20 min ago"


def test_what_lets_anyone_in_is_never_shown(tmp_path: Path, store: Store, key: ApiKey) -> None:
    html = Site(tmp_path, store).browser().page(PATH)
    assert BEARER not in html
    assert hash_of(BEARER) not in html
    assert key.id in html


def test_keys_that_open_nothing_are_told(tmp_path: Path, store: Store, key: ApiKey) -> None:
    assert "the keys open nothing" in Site(tmp_path, store).browser().page(PATH)


def test_without_keys_the_page_says_how_one_is_made(tmp_path: Path, store: Store) -> None:
    html = Site(tmp_path, store).browser().page(PATH)
    assert ("There is none." in html, "app-proxy keys add" in html) == (True, True)
