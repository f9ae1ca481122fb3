"""A store of the tests' own, and how thorough the property tests are."""

import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from proxy.errors import StoreUnavailable
from proxy.store.connection import Store
from proxy.store.server.embedded import ensure_store, stop_store

# Shared cores: how long an example takes says nothing about the code. `make test` tries the same examples everywhere,
# so that it fails for a change and not by the draw; `make fuzz` sets NEW_EXAMPLES and tries others each time.
settings.register_profile(
    "shared-cores",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=not os.environ.get("NEW_EXAMPLES"),
)
settings.load_profile("shared-cores")


@pytest.fixture(scope="session")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server, started for these tests alone and stopped after them; or the one that STORE_OF_TESTS names."""
    if url := os.environ.get("STORE_OF_TESTS"):
        assert Store(url, shards=1).layout.shards == 1
        yield url
        return
    folder: Path = tmp_path_factory.mktemp("store")
    url = ensure_store(folder)
    assert Store(url, shards=1).layout.shards == 1  # what is looked for in it lies in one place
    yield url
    stop_store(folder)


@pytest.fixture
def app_id() -> str:
    """An appId that no other test uses, so that nothing has to be flushed."""
    return str(uuid.uuid4().int)[:19]


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """Its connection is closed at the end: what the collector finds with the store in a circle would warn."""
    store = Store(store_url)
    yield store
    with suppress(StoreUnavailable):
        store.call(lambda redis: redis.close())
