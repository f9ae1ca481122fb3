"""What a user asks of their alerts, as the web keeps it."""

import pytest

from proxy.domain.preferences import DEFAULT, Mute, Preferences
from proxy.domain.previews import Preview
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.users.preferences import RedisPreferences
from tests.store.samples import LAYOUT, device, raw

MUTED = Preferences({"p2p:ann": Mute()}, preview=Preview.SENDER)


@pytest.fixture
def book(store: Store, app_id: str) -> RedisPreferences:
    return RedisPreferences(store, {"main": app_id, "twin": app_id, "beta": f"{app_id}9"})


def test_they_are_kept_for_one_account_in_all_sections_of_one_app_id(book: RedisPreferences) -> None:
    version = book.write("main", "ben", MUTED, None)
    assert book.read("main", "ben") == book.read("twin", "ben") == (MUTED, version)
    assert book.read("beta", "ben")[0] == book.read("main", "cai")[0] == DEFAULT


def test_the_default_leaves_nothing_in_the_store(book: RedisPreferences, store: Store, app_id: str) -> None:
    book.write("main", "ben", MUTED, None)
    version = book.write("main", "ben", DEFAULT, None)
    assert book.read("main", "ben") == (DEFAULT, version)
    assert raw(store, "EXISTS", LAYOUT.preferences(app_id, "ben")) == 0


def test_a_version_that_is_no_longer_there_changes_nothing(book: RedisPreferences) -> None:
    _, none_yet = book.read("main", "ben")
    first = book.write("main", "ben", MUTED, none_yet)
    assert book.write("main", "ben", DEFAULT, none_yet) is None
    assert book.read("main", "ben") == (MUTED, first)
    assert book.write("main", "ben", DEFAULT, first) == none_yet


def test_they_live_on_whenever_they_are_read_and_whenever_a_device_is_registered(
    book: RedisPreferences, store: Store, app_id: str
) -> None:
    key = LAYOUT.preferences(app_id, "ben")
    book.write("main", "ben", MUTED, None)
    for use in (
        lambda: book.read("main", "ben"),
        lambda: RedisDeviceRegistry(store, {"main": app_id}).register(device()),
    ):
        raw(store, "EXPIRE", key, 5)
        use()
        assert raw(store, "TTL", key) > keys.DEVICE_TTL_S - 60
