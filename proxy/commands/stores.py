"""The store that the settings name."""

from proxy.settings import Settings
from proxy.store.connection import Store


def store_of(settings: Settings) -> Store:
    return Store(settings.store.url.get_secret_value(), settings.store.timeout_s)
