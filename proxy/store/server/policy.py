"""What a store puts at risk, in words: does it throw away what it was given, and what does its crash lose?

A store that evicts is refused, for it would lose callbacks silently, and so is one that is laid out in another way than
the settings say. One that may lose its last seconds is told.
"""

from typing import Any

from redis.exceptions import ResponseError

from proxy.errors import BadSettings, StoreUnavailable
from proxy.store.connection import Store

KEEPS = "noeviction"
_REPLICAS_TAKE_MS = 100


def refuse_unfit(store: Store) -> None:
    """Raises BadSettings when the store would evict, or has not the shards that the settings want.

    One that is away, or hides its settings, is not refused.
    """
    try:
        _refuse(store.call(read_policy))
        _ = store.layout
    except StoreUnavailable:
        return


async def refuse_eviction_async(redis: Any) -> None:
    """The same for the worker's first contact. Raises RedisError too: a store that is away must be asked again."""
    for server in await redis.servers():
        try:
            found = await server.info("memory")
        except ResponseError:
            continue
        _refuse(found.get("maxmemory_policy"))


def read_policy(redis: Any) -> str | None:
    """The store's maxmemory-policy; None where it does not show it. INFO shows it also where CONFIG is forbidden.

    Of the masters of a cluster the worst, here and below.
    """
    return max((_policy_of(server) for server in redis.servers()), key=_badness, default=None)


def _badness(policy: str | None) -> int:
    return 0 if policy == KEEPS else 1 if policy is None else 2


def _policy_of(server: Any) -> str | None:
    try:
        found = server.info("memory").get("maxmemory_policy")
    except ResponseError:
        return None
    return str(found) if found else None


def read_version(redis: Any) -> str | None:
    """The version of Redis that the store is compatible with; None where it does not show it."""
    try:
        found = [str(server.info("server").get("redis_version", "")) for server in redis.servers()]
    except ResponseError:
        return None
    return min(found, key=version_numbers, default=None)


def version_numbers(version: str) -> tuple[int, ...]:
    """Major and minor."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def eviction_fault(policy: str | None) -> str | None:
    """A sentence with what mends it, where the policy evicts."""
    if policy in (None, KEEPS):
        return None
    return (
        f"the store's maxmemory-policy is {policy}: when it is full it drops callbacks, alerts and marks silently. "
        "Mend it with: redis-cli CONFIG SET maxmemory-policy noeviction (and in its configuration file, or the "
        "parameters of a hosted store)"
    )


def read_persistence(redis: Any) -> tuple[bool | None, str | None]:
    """Is each write appended to a file, and when is that file synced ("always", "everysec", "no")?

    None is what the store does not show: hosted ones forbid CONFIG.
    """
    found = [_persistence_of(server) for server in redis.servers()]
    return min(found, key=_safety, default=(None, None))


def _safety(persistence: tuple[bool | None, str | None]) -> tuple[int, bool]:
    is_appended, fsync = persistence
    return (1 if is_appended is None else 2 * is_appended), fsync == "always"


def _persistence_of(server: Any) -> tuple[bool | None, str | None]:
    try:
        is_appended = server.info("persistence").get("aof_enabled")
    except ResponseError:
        is_appended = None
    try:
        (fsync,) = server.config_get("appendfsync").values()
    except (ResponseError, ValueError):
        fsync = None
    return None if is_appended is None else bool(is_appended), fsync.decode() if isinstance(fsync, bytes) else fsync


def persistence_risk(is_appended: bool | None, fsync: str | None) -> str | None:
    """A sentence where a restart or a crash of the store may lose what was accepted."""
    if is_appended is None:
        return "unknown: the store does not show whether it appends to a file"
    if not is_appended:
        return "at risk: appendonly is off, a restart of the store loses accepted callbacks"
    if fsync == "always":
        return None
    return (
        f"at risk: appendfsync is {fsync or 'not shown'}, a crash of the store may lose what it had accepted in the "
        "last seconds; always loses nothing"
    )


def replicas_fault(wanted: int, redis: Any) -> str | None:
    """A sentence where fewer than the wanted replicas have what was written last to some server."""
    if not wanted:
        return None
    try:
        found = min((server.wait(wanted, _REPLICAS_TAKE_MS) for server in redis.servers()), default=0)
    except ResponseError:
        return "unknown: the store's user may not run WAIT, so that callbacks are answered 503"
    if found >= wanted:
        return None
    return (
        f"{found} of the {wanted} that store.replicas asks for have the latest writes: callbacks are answered 503, or "
        "kept in the spool"
    )


def _refuse(policy: str | None) -> None:
    if fault := eviction_fault(policy):
        raise BadSettings([f"store.url: {fault}"])
