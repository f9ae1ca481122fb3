"""How we talk to Redis: one connection per thread for the web, a pool on the event loop for the worker."""

import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar, cast

from redis import Redis
from redis.asyncio import BlockingConnectionPool, ConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from proxy.errors import StoreUnavailable
from proxy.store.async_cluster import AsyncCluster, ClusterTrips
from proxy.store.availability import Availability
from proxy.store.cluster import Cluster
from proxy.store.first_contact import layout_of, layout_of_async
from proxy.store.keys import Layout
from proxy.store.masters import AsyncMasters, Masters, plain_options
from proxy.store.packing import pack_commands
from proxy.store.round_trips import MOST_CONNECTIONS, RoundTrips
from proxy.store.troubles import is_no_masters
from proxy.store_address import read_store_address

T = TypeVar("T")
Commands = Any  # a Redis client; its own types cannot tell that all our answers are bytes

_AT_ONCE_S = 0.1  # a dead kept connection fails at once: then there is time for a fresh one


class Store:
    """Redis for threads. Every call ends within about `timeout_s`, or at once while the store is known to be away.

    After a failure one caller a second tries again (availability.py); of a cluster that holds for each node. redis-py 8
    by itself would repeat a dead call for 4.6 s; a thread keeps its connection because a pool costs 40 us a call (both
    measured).
    """

    def __init__(
        self,
        url: str,
        timeout_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[str, str], None] = lambda _at, _error: None,
        shards: int | None = None,
        app_ids: Sequence[str] = (),
    ) -> None:
        """`on_change` is called with the server's address when it begins to fail, with the error, and "" when it
        answers again. `shards`: of a store that is new; None: the usual number. `app_ids`: by
        them a store that an earlier version made is known.
        """
        self._shards, self._app_ids = shards, app_ids
        self._layout: Layout | None = None
        address = read_store_address(url)
        self._url, self.at = address.url, address.shown
        self._masters = Masters(address, timeout_s, self.leave) if address.sentinels else None
        self._cluster = Cluster(address, timeout_s, clock, on_change) if address.nodes else None
        self._availability = Availability(self.at, clock, on_change)  # of a cluster's nodes each has its own
        self.timeout_s = timeout_s
        self._clock = clock
        self._local = threading.local()
        self._failovers = 0  # of which any thread heard

    @property
    def is_away(self) -> bool:
        """It did not answer last time. False again where it was not asked for a while, so that it is asked."""
        return self._cluster.is_away if self._cluster else self._availability.is_away

    @property
    def is_cluster(self) -> bool:
        return self._cluster is not None

    def answers(self) -> bool:
        """It does now."""
        try:
            self.call(lambda redis: redis.ping())
        except StoreUnavailable:
            return False
        return True

    @property
    def layout(self) -> Layout:
        """Where its keys lie. Asked for once. Raises StoreUnavailable."""
        layout = self._layout
        if layout is None:
            layout = self._layout = self.call(partial(layout_of, shards=self._shards, app_ids=self._app_ids))
        return layout

    def know_layout(self, layout: Layout) -> None:
        """It is another store now, or keeps things in another way."""
        if layout != self._layout:
            self._layout = layout

    def forget_layout(self) -> None:
        """It is to be asked for again."""
        self._layout = None

    def leave(self) -> None:
        """Each thread connects anew at its next call: another server may be the master now."""
        self._failovers += 1
        if self._cluster:
            self._cluster.nodes.is_old = True

    def follow_master(self) -> None:
        """Leave a master that lost its place, and may hear of it last: until then it takes writes that are lost.

        To be called now and then, where there may be sentinels.
        """
        if self._masters:
            with suppress(RedisError):  # without sentinels the master is as good as before
                self._masters.get_master_address()

    def server_at(self) -> str:
        """Which server answers, for a person; where there are sentinels only they know."""
        if self._masters is None or self._masters.known is None:
            return self.at
        host, port = self._masters.known
        return f"{host}:{port} ({self.at})"

    def call(self, do: Callable[[Commands], T]) -> T:
        """What `do` returns. Raises StoreUnavailable for whatever Redis or the way to it does not do."""
        self._availability.admit()
        started = self._clock()
        try:
            try:
                result = do(self._redis())
            except RedisTimeoutError:
                raise
            except RedisConnectionError:
                if self._clock() - started > _AT_ONCE_S:
                    raise
                result = do(self._redis())
        except RedisError as error:
            if is_no_masters(error):
                self.leave()  # a thread that only reads would hear no error there, and stay
            if self._cluster:
                self._cluster.failed(self._local.redis.failing, type(error).__name__)
            else:
                self._availability.failed(type(error).__name__)
            raise StoreUnavailable(f"the store did not answer: {type(error).__name__}", self.at) from None
        self._availability.answered()
        return result

    def _redis(self) -> Redis:
        """This thread's own. A new one after a failover: the address may lead to another server now."""
        redis: Redis | None = getattr(self._local, "redis", None)
        if redis is not None and self._local.failovers != self._failovers:
            redis.close()
            redis = None
        if redis is None:
            self._local.failovers = self._failovers
            redis = self._local.redis = (
                self._cluster.client()
                if self._cluster
                else self._connected(
                    socket_connect_timeout=self.timeout_s * 0.4,
                    socket_timeout=self.timeout_s * 0.7,
                    **plain_options(self._url),
                    retry=Retry(NoBackoff(), 0),
                )
            )
        return redis

    def _connected(self, **options: Any) -> Redis:
        if self._masters is None:
            return ThreadRedis.from_url(self._url, single_connection_client=True, **options)
        redis = ThreadRedis(connection_pool=self._masters.pool(**options), single_connection_client=True)
        redis.auto_close_connection_pool = True
        return redis


class ThreadRedis(Redis):
    """A thread's own client, of one server."""

    def exchange(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """All answers in one round trip; what the server says against one command is its answer, a ResponseError.

        Not by the library's own methods and pipelines, which cost several times as much CPU.
        """
        connection: Any = self.connection
        try:
            connection.send_packed_command([pack_commands(commands)], check_health=False)
            return [_answer(connection) for _ in commands]
        except BaseException:  # answers may be on their way still, which the next to use it would take for its own
            connection.disconnect()
            raise

    def servers(self) -> list[Redis]:
        """A client for each server that holds a share of the keys: here one."""
        return [self]


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error


def address_of(url: str) -> str:
    """Host and port, or the socket's path, or service and sentinels, without name and password."""
    return read_store_address(url).shown


class _LeavesReplicas(AbstractConnection):
    """A connection of the library's pool that ends where the server says that it is no master."""

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except ResponseError as error:
            if is_no_masters(error):
                await self.disconnect(nowait=True)
            raise


class AsyncStore(AsyncRedis):
    """Redis for an event loop: the library's own methods, and `round_trips` for what is asked all the time."""

    round_trips: RoundTrips
    masters: AsyncMasters | None
    shards: int | None
    app_ids: Sequence[str]
    layout: Layout  # where its keys lie; to be learned first
    is_cluster = False

    async def learn_layout(self) -> None:
        """Raises RedisError."""
        self.layout = await layout_of_async(self, self.shards, self.app_ids)

    async def servers(self) -> list[AsyncRedis]:
        """As those of ThreadRedis."""
        return [self]

    async def follow_master(self) -> None:
        """As that of Store."""
        if self.masters:
            with suppress(RedisError):
                await self.masters.get_master_address()

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self.round_trips.aclose()
        await super().aclose(close_connection_pool)


@asynccontextmanager
async def lasting_redis(url: str, timeout_s: float, layout: Layout) -> AsyncIterator[Any]:
    """The store for an event loop that does one thing. Raises StoreUnavailable for whatever Redis does not do."""
    redis = async_redis(url, timeout_s)
    redis.layout = layout
    try:
        yield redis
    except RedisError as error:
        raise StoreUnavailable(f"the store did not answer: {type(error).__name__}", address_of(url)) from None
    finally:
        await redis.aclose()


def async_redis(
    url: str, timeout_s: float, shards: int | None = None, app_ids: Sequence[str] = ()
) -> AsyncStore | AsyncCluster:
    """The store for an event loop. `timeout_s` must exceed the longest blocking read. `shards` and
    `app_ids` as for Store.

    A caller that finds all connections taken waits for one: an answer about a batch makes as many calls as it has
    targets, and the library's ordinary pool fails the 101st.
    """
    address = read_store_address(url)
    if address.nodes:
        return AsyncCluster(ClusterTrips(address, timeout_s), shards, app_ids)

    async def moved() -> None:
        await store.round_trips.leave()
        await pool.disconnect(inuse_connections=False)

    masters = AsyncMasters(address, timeout_s, moved) if address.sentinels else None

    def pool_of(kind: type[ConnectionPool], **options: Any) -> ConnectionPool:
        options |= {
            **plain_options(address.url),
            "socket_connect_timeout": timeout_s,
            "retry": AsyncRetry(NoBackoff(), 0),
        }
        return kind.from_url(url, **options) if masters is None else masters.pool(kind, **options)

    pool = pool_of(
        BlockingConnectionPool, max_connections=MOST_CONNECTIONS, timeout=timeout_s, socket_timeout=timeout_s
    )
    pool.connection_class = type("LeavingConnection", (_LeavesReplicas, pool.connection_class), {})
    store = cast(AsyncStore, AsyncStore.from_pool(pool))
    store.masters, store.shards, store.app_ids = masters, shards, app_ids
    store.round_trips = RoundTrips(pool_of(ConnectionPool, socket_timeout=None), timeout_s)
    return store
