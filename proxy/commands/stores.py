"""The store that the settings name."""

from proxy.settings import Settings
from proxy.store.connection import Store


def store_of(settings: Settings, *, at_least_s: float = 0) -> Store:
    """`at_least_s`: where a person would rather wait for an answer than not know what was done."""
    return Store(settings.store.url.get_secret_value(), max(settings.store.timeout.total_seconds(), at_least_s))
