"""How we talk to Redis: one connection per thread for the web, a pool on the event loop for the worker."""

import asyncio
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
from redis.exceptions import MasterDownError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from proxy.errors import StoreUnavailable
from proxy.store.first_contact import layout_of, layout_of_async
from proxy.store.keys import Layout
from proxy.store.masters import AsyncMasters, Masters, plain_options
from proxy.store.packing import pack_commands
from proxy.store_address import read_store_address

T = TypeVar("T")
Commands = Any  # a Redis client; its own types cannot tell that all our answers are bytes

_PROBE_EVERY_S = 1.0
_PROBE_OVERDUE_S = 2.0
_PROBE_TAKES_S = 0.1  # at most, where the store is well again
_MOST_CONNECTIONS = 200  # opened as needed; every stream's blocking read takes one
_AT_ONCE_S = 0.1  # a dead kept connection fails at once: then there is time for a fresh one


class Store:
    """Redis for threads. Every call ends within about `timeout_s`, or at once while the store is known to be away.

    After a failure one caller a second tries again. Concurrent callers wait briefly for what it finds: a callback
    refused then may have been MIMC's last try. All others get the error at once. redis-py 8 by itself would repeat a
    dead call for 4.6 s; a thread keeps its connection because a pool costs 40 us a call (both measured).
    """

    def __init__(
        self,
        url: str,
        timeout_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[str, str], None] = lambda _at, _error: None,
        shards: int | None = None,
    ) -> None:
        """`on_change` is called with the server's address when it begins to fail, with the error, and "" when it
        answers again. `shards`: of a store that is new; None: the usual number.
        """
        self._shards = shards
        self._layout: Layout | None = None
        address = read_store_address(url)
        self._url, self.at = address.url, address.shown
        self._masters = Masters(address, timeout_s, self.leave) if address.sentinels else None
        self._on_change = on_change
        self.timeout_s = timeout_s
        self._clock = clock
        self._local = threading.local()
        self._failovers = 0  # of which any thread heard
        self._probed = threading.Condition()
        self._next_probe: float | None = None  # None: the store answered last time
        self._probe_ends = 0.0  # until then a caller is trying
        self._failed = False

    @property
    def is_away(self) -> bool:
        """It did not answer last time. False again where it was not asked for a while, so that it is asked."""
        due = self._next_probe
        return due is not None and self._clock() < due + _PROBE_OVERDUE_S

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
            layout = self._layout = self.call(partial(layout_of, shards=self._shards))
        return layout

    def forget_layout(self) -> None:
        """It is another store now."""
        self._layout = None

    def leave(self) -> None:
        """Each thread connects anew at its next call: another server may be the master now."""
        self._failovers += 1

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
        self._admit()
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
            self._learn(self._clock() + _PROBE_EVERY_S, type(error).__name__)
            raise StoreUnavailable(f"the store did not answer: {type(error).__name__}", self.at) from None
        if self._next_probe is not None:
            self._learn(None)
        return result

    def _admit(self) -> None:
        """Returns for a caller that may ask the store."""
        if self._next_probe is None:
            return
        with self._probed:
            now = self._clock()
            if self._next_probe is not None and now >= self._next_probe:
                self._next_probe, self._probe_ends = now + _PROBE_EVERY_S, now + _PROBE_TAKES_S
                return
            if now < self._probe_ends:
                self._probed.wait(self._probe_ends - now)
            if self._next_probe is not None:
                raise StoreUnavailable("the store does not answer", self.at)

    def _learn(self, next_probe: float | None, error: str = "") -> None:
        with self._probed:
            is_news = self._failed != bool(error)
            self._failed = bool(error)
            self._next_probe, self._probe_ends = next_probe, 0.0
            self._probed.notify_all()
        if is_news:
            self._on_change(self.at, error)

    def _redis(self) -> Redis:
        """This thread's own. A new one after a failover: the address may lead to another server now."""
        redis: Redis | None = getattr(self._local, "redis", None)
        if redis is not None and self._local.failovers != self._failovers:
            redis.close()
            redis = None
        if redis is None:
            self._local.failovers = self._failovers
            redis = self._local.redis = self._connected(
                socket_connect_timeout=self.timeout_s * 0.4,
                socket_timeout=self.timeout_s * 0.7,
                **plain_options(self._url),
                retry=Retry(NoBackoff(), 0),
            )
        return redis

    def _connected(self, **options: Any) -> Redis:
        if self._masters is None:
            return Redis.from_url(self._url, single_connection_client=True, **options)
        redis = Redis(connection_pool=self._masters.pool(**options), single_connection_client=True)
        redis.auto_close_connection_pool = True
        return redis


def address_of(url: str) -> str:
    """Host and port, or the socket's path, or service and sentinels, without name and password."""
    return read_store_address(url).shown


def is_the_stores_own(error: RedisError) -> bool:
    """It cannot work now, whatever it is asked: away, loading, full, read-only, alone. Else it is what we asked for."""
    if not isinstance(error, ResponseError) or isinstance(error, OutOfMemoryError | ReadOnlyError):
        return True
    return any(sign in str(error) for sign in _OWN_TROUBLE)


def is_no_masters(error: object) -> bool:
    """The server is a replica now, or a master without its replicas, which are another's after a failover that it has
    not heard of. Where the master is now, only a new connection finds.
    """
    is_such = isinstance(error, ReadOnlyError | MasterDownError)
    return is_such or (isinstance(error, ResponseError) and any(sign in str(error) for sign in _NO_MASTERS))


_NO_MASTERS = ("READONLY ", "MASTERDOWN ", "UNBLOCKED ", "NOREPLICAS ")
# as the server begins its answer; 6.2 puts the first two of a script's into the middle
_OWN_TROUBLE = ("OOM ", "READONLY ", "MISCONF ", "NOREPLICAS ", "MASTERDOWN ", "UNBLOCKED ", "CLUSTERDOWN ",
                "BUSY ")  # fmt: skip

_LATE_S = 0.25  # a timer so late fires in a process that got no processor time


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

    round_trips: "RoundTrips"
    masters: AsyncMasters | None
    shards: int | None
    layout: Layout  # where its keys lie; to be learned first

    async def learn_layout(self) -> None:
        """Raises RedisError."""
        self.layout = await layout_of_async(self, self.shards)

    async def follow_master(self) -> None:
        """As that of Store."""
        if self.masters:
            with suppress(RedisError):
                await self.masters.get_master_address()

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self.round_trips.aclose()
        await super().aclose(close_connection_pool)


class RoundTrips:
    """Kept connections for whole round trips, each with one time limit.

    The library sets a limit for each answer, and looks at a connection before each use: for eight commands that costs
    104 us of CPU where this takes 40, for a single one 53 instead of 20 (measured).
    """

    def __init__(self, pool: ConnectionPool, timeout_s: float) -> None:
        """`pool` makes the connections."""
        self._timeout_s, self._pool = timeout_s, pool
        self._idle: list[Any] = []
        self._failovers = 0
        self._room = asyncio.Semaphore(_MOST_CONNECTIONS)

    async def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """The answers in order; what the server says against one command is its answer, a ResponseError.

        Raises RedisError where there is no answer.
        """
        async with self._room:
            is_kept, failovers = bool(self._idle), self._failovers
            connection: Any = self._idle.pop() if is_kept else self._pool.make_connection()  # type: ignore[no-untyped-call]  # the library has no types here
            try:
                async with asyncio.timeout(None) as limit:
                    watched = _TimeLimit(limit, self._timeout_s)
                    try:
                        if not is_kept:
                            await connection.connect()  # a password and a database are an exchange too
                        answers, is_demoted = await _exchange(connection, commands)
                    finally:
                        watched.end()
            except TimeoutError:
                await connection.disconnect(nowait=True)
                raise RedisTimeoutError("no answer in time") from None
            except BaseException:  # answers may be on their way still, which the next to use it would take for its own
                await connection.disconnect(nowait=True)
                await self._drop_idle()  # a store that has closed one has closed them all
                raise
            if is_demoted:
                await self.leave()
            if failovers != self._failovers:
                await connection.disconnect(nowait=True)
            else:
                self._idle.append(connection)
            return answers

    async def leave(self) -> None:
        """All connections that there are now end, those in use once they are answered."""
        self._failovers += 1
        await self._drop_idle()

    async def aclose(self) -> None:
        await self._drop_idle()

    async def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.disconnect(nowait=True)


class _TimeLimit:
    """A time limit that begins anew where this process itself did not run when it ended.

    The answer may lie there unread. To throw it away would cost a starved worker all that a claim brought.
    """

    __slots__ = ("_due", "_limit", "_loop", "_seconds", "_timer")

    def __init__(self, limit: asyncio.Timeout, seconds: float) -> None:
        self._limit, self._seconds = limit, seconds
        self._loop = asyncio.get_running_loop()
        self._begin()

    def end(self) -> None:
        self._timer.cancel()

    def _begin(self) -> None:
        self._due = self._loop.time() + self._seconds
        self._timer = self._loop.call_at(self._due, self._expire)

    def _expire(self) -> None:
        now = self._loop.time()
        if now - self._due > _LATE_S:
            self._begin()
        else:
            self._limit.reschedule(now)


async def _exchange(connection: Any, commands: Sequence[Sequence[Any]]) -> tuple[list[Any], bool]:
    """The answers, and whether one of them is no master's."""
    await connection.send_packed_command([pack_commands(commands)], check_health=False)
    answers: list[Any] = []
    is_demoted = False
    for _ in commands:
        try:
            answers.append(await connection.read_response(disable_decoding=True))
        except ResponseError as error:
            answers.append(error)
            is_demoted = is_demoted or is_no_masters(error)
    return answers, is_demoted


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


def async_redis(url: str, timeout_s: float, shards: int | None = None) -> AsyncStore:
    """The store for an event loop. `timeout_s` must exceed the longest blocking read. `shards` as for Store.

    A caller that finds all connections taken waits for one: an answer about a batch makes as many calls as it has
    targets, and the library's ordinary pool fails the 101st.
    """
    address = read_store_address(url)

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
        BlockingConnectionPool, max_connections=_MOST_CONNECTIONS, timeout=timeout_s, socket_timeout=timeout_s
    )
    pool.connection_class = type("LeavingConnection", (_LeavesReplicas, pool.connection_class), {})
    store = cast(AsyncStore, AsyncStore.from_pool(pool))
    store.masters, store.shards = masters, shards
    store.round_trips = RoundTrips(pool_of(ConnectionPool, socket_timeout=None), timeout_s)
    return store
