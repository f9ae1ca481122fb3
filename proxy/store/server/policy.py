"""Does the store throw away what it was given, to make room? On such a one callbacks would be lost silently."""

from typing import Any

from redis.exceptions import ResponseError

from proxy.errors import BadSettings, StoreUnavailable
from proxy.store.connection import Store

KEEPS = "noeviction"


def refuse_eviction(store: Store) -> None:
    """Raises BadSettings when the store would evict. One that is away, or hides its settings, is not refused."""
    try:
        _refuse(store.call(read_policy))
    except StoreUnavailable:
        return


async def refuse_eviction_async(redis: Any) -> None:
    """The same for the worker's first contact. Raises RedisError too: a store that is away must be asked again."""
    try:
        found = await redis.info("memory")
    except ResponseError:
        return
    _refuse(found.get("maxmemory_policy"))


def read_policy(redis: Any) -> str | None:
    """The store's maxmemory-policy; None where it does not show it. INFO tells it also where CONFIG is forbidden."""
    try:
        found = redis.info("memory").get("maxmemory_policy")
    except ResponseError:
        return None
    return str(found) if found else None


def eviction_fault(policy: str | None) -> str | None:
    """A sentence with what mends it, where the policy evicts."""
    if policy in (None, KEEPS):
        return None
    return (
        f"the store's maxmemory-policy is {policy}: when it is full it drops callbacks, alerts and marks silently. "
        "Mend it with: redis-cli CONFIG SET maxmemory-policy noeviction (and in its configuration file, or the "
        "parameters of a hosted store)"
    )


def _refuse(policy: str | None) -> None:
    if fault := eviction_fault(policy):
        raise BadSettings([f"store.url: {fault}"])
