"""Stores of 16 shards, of one, and as earlier versions laid them out."""

from collections.abc import Iterator

import pytest

from proxy.store.connection import Store
from proxy.store.server.embedded import ensure_store, stop_store
from tests.store.samples import SHARDED


@pytest.fixture(scope="session")
def store_urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, str]]:
    """By the number of shards."""
    folders = {shards: tmp_path_factory.mktemp(f"shards-{shards}") for shards in (0, 1, SHARDED.shards)}
    urls = {shards: ensure_store(folder) for shards, folder in folders.items()}
    assert [Store(url, shards=shards).layout.shards for shards, url in urls.items()] == list(urls)
    yield urls
    for folder in folders.values():
        stop_store(folder)


@pytest.fixture
def shards() -> int:
    return SHARDED.shards


@pytest.fixture
def store_url(store_urls: dict[int, str], shards: int) -> str:
    return store_urls[shards]
