"""Where the master of a Sentinel service is: each new connection asks the sentinels, by redis-py's own clients.

Its `discover_master` is not used: it reorders a list while others go through it, so that a sentinel may drop out for
good, and goes by SENTINEL MASTERS, which names the old master until the end of a failover. A sentinel that was cut off
names a server that is no master any more, so the server is asked too, as Sentinel's guidelines for clients want it.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from redis import ConnectionPool, Redis, SSLConnection
from redis.asyncio import ConnectionPool as AsyncConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import SentinelManagedConnection as AsyncManagedConnection
from redis.asyncio.sentinel import SentinelManagedSSLConnection as AsyncManagedSslConnection
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, SentinelManagedConnection, SentinelManagedSSLConnection

from proxy.store_address import StoreAddress

_SHARE = 0.2  # of a call's time: for a sentinel that does not answer, so that there is time for another
_R = TypeVar("_R", Retry, AsyncRetry)
_Address = tuple[str, int]

# no HELLO and no CLIENT SETINFO: two round trips less on every new connection
PLAIN: dict[str, Any] = {"protocol": 2, "driver_info": None}


class _Asking(Generic[_R]):
    """What SentinelManagedConnection asks of its pool. `known`: the latest master. Safe to share between threads."""

    is_master, check_connection = True, False

    def __init__(self, address: StoreAddress, timeout_s: float, retry: type[_R]) -> None:
        self.service_name, self._sentinels = address.service, address.sentinels
        self.known: _Address | None = None
        options, self.is_tls = options_of(address.sentinels_url)
        self._of_sentinels = {
            **plain_options(address.sentinels_url), **options, "decode_responses": True, "ssl": self.is_tls,
            "retry": retry(NoBackoff(), 0),
            "socket_connect_timeout": timeout_s * _SHARE, "socket_timeout": timeout_s * _SHARE,
        }  # fmt: skip
        self._of_servers, _ = options_of(address.url)

    def doubt(self) -> None:
        """The sentinel that was asked last is behind: another one is asked next."""
        first, *others = self._sentinels
        self._sentinels = (*others, first)

    def _learn(self, at: _Address, answered: _Address) -> bool:
        """True where the master is another server than before."""
        self._sentinels = tuple(sorted(self._sentinels, key=lambda one: one != answered))
        before, self.known = self.known, at
        return before not in (None, at)

    def _unnamed(self) -> MasterNotFoundError:
        return MasterNotFoundError("no sentinel names a master")


class Masters(_Asking[Retry]):
    """For threads. `on_move` is called where the master is another server than at the connection before."""

    def __init__(self, address: StoreAddress, timeout_s: float, on_move: Callable[[], None]) -> None:
        super().__init__(address, timeout_s, Retry)
        self._on_move = on_move

    def pool(self, **options: Any) -> ConnectionPool:
        kind = _MasterOverTls if self.is_tls else _Master
        return ConnectionPool(connection_class=kind, connection_pool=self, **(options | self._of_servers))

    def get_master_address(self) -> _Address:
        for host, port in self._sentinels:
            try:
                with Redis(host, port, **self._of_sentinels) as sentinel:
                    found: Any = sentinel.sentinel_get_master_addr_by_name(self.service_name)
            except RedisError:
                continue
            if found:
                at = (found[0], found[1])
                if self._learn(at, (host, port)):
                    self._on_move()
                return at
        raise self._unnamed()


class AsyncMasters(_Asking[AsyncRetry]):
    """The same for an event loop."""

    def __init__(self, address: StoreAddress, timeout_s: float, on_move: Callable[[], Awaitable[None]]) -> None:
        super().__init__(address, timeout_s, AsyncRetry)
        self._on_move = on_move

    def pool(self, kind: type[AsyncConnectionPool], **options: Any) -> AsyncConnectionPool:
        connection = _AsyncMasterOverTls if self.is_tls else _AsyncMaster
        return kind(connection_class=connection, connection_pool=self, **(options | self._of_servers))

    async def get_master_address(self) -> _Address:
        for host, port in self._sentinels:
            try:
                async with AsyncRedis(host=host, port=port, **self._of_sentinels) as sentinel:
                    found: Any = await sentinel.sentinel_get_master_addr_by_name(self.service_name)
            except RedisError:
                continue
            if found:
                at = (found[0], found[1])
                if self._learn(at, (host, port)):
                    await self._on_move()
                return at
        raise self._unnamed()


class _Master(SentinelManagedConnection):
    """A connection that ends at once where its server is no master.

    One that was lost asks the sentinels again. The library would connect to the same server, unless it takes the
    connection out of a pool each time.
    """

    def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:
        if retry_socket_connect:  # not by `connect_to`
            self.connect()  # type: ignore[no-untyped-call]  # the library has no types here
        else:
            super().connect_check_health(check_health, retry_socket_connect=False)

    def connect_to(self, address: _Address) -> None:
        super().connect_to(address)  # type: ignore[no-untyped-call]  # as above
        try:
            self.send_command("ROLE")  # type: ignore[no-untyped-call]  # as above
            role = self.read_response(disable_decoding=True)[0]
        except ResponseError:  # a user who may not ask
            return
        if role != b"master":
            self.disconnect()  # type: ignore[no-untyped-call]  # as above
            self.connection_pool.doubt()
            raise RedisConnectionError("the sentinels name a server that is no master")


class _MasterOverTls(_Master, SentinelManagedSSLConnection):
    pass


class _AsyncMaster(AsyncManagedConnection):
    """The same for an event loop."""

    async def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:
        if retry_socket_connect:
            await self.connect()  # type: ignore[no-untyped-call]  # as above
        else:
            await super().connect_check_health(check_health, retry_socket_connect=False)

    async def connect_to(self, address: _Address) -> None:
        await super().connect_to(address)  # type: ignore[no-untyped-call]  # as above
        try:
            await self.send_command("ROLE")
            role = (await self.read_response(disable_decoding=True))[0]
        except ResponseError:
            return
        if role != b"master":
            await self.disconnect(nowait=True)
            self.connection_pool.doubt()
            raise RedisConnectionError("the sentinels name a server that is no master")


class _AsyncMasterOverTls(_AsyncMaster, AsyncManagedSslConnection):
    pass


def plain_options(url: str) -> dict[str, Any]:
    """For every connection. Over TLS one without a password says its name: the library's pools refuse a new connection
    on which there is something to read, as TLS 1.3's session tickets are until the first answer (7 of 100, measured).
    """
    options, is_tls = options_of(url)
    return PLAIN | ({"client_name": "app-proxy"} if is_tls and not options.get("password") else {})


def options_of(url: str) -> tuple[dict[str, Any], bool]:
    """The library's connection options, without a place; and whether there is TLS."""
    options = parse_url(url)  # type: ignore[no-untyped-call]  # as above
    options.pop("host", None)
    kind = options.pop("connection_class", None)
    return options, kind is SSLConnection
