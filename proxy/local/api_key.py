"""The API key that the demo's bot shows: a new one at each start, for only its hash is kept."""

import secrets
from datetime import UTC, datetime

from proxy.domain.api_keys import KEY_BYTES, ApiKey, Scope, hash_of, id_of, new_bearer
from proxy.local.processes import APP, DemoEnvironment
from proxy.store.connection import Store
from proxy.store.users.api_keys import RedisApiKeys

_NAME = "demo-bot"


def new_api_key(environment: DemoEnvironment) -> str:
    """Raises StoreUnavailable."""
    bearer, keys = new_bearer(secrets.token_bytes(KEY_BYTES)), RedisApiKeys(Store(environment.store))
    scopes = frozenset({Scope.PUSH_SEND})
    keys.revoke(_NAME)
    keys.add(ApiKey(id_of(hash_of(bearer)), _NAME, APP, "bot", scopes, datetime.now(UTC)), bearer)
    return bearer
