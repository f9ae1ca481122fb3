"""A cluster, for an event loop."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.asyncio import Connection, ConnectionPool, SSLConnection
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from proxy.store.cluster import CONNECT_SHARE, LOOK, LOOK_SHARE, as_sent, parsed, unpacked
from proxy.store.first_contact import layout_of_async
from proxy.store.keys import Layout
from proxy.store.masters import options_of, plain_options
from proxy.store.round_trips import RoundTrips
from proxy.store.slots import Address, Command, Exchange, Nodes, NotSent, words
from proxy.store_address import StoreAddress


class ClusterTrips:
    """What RoundTrips is for one server."""

    def __init__(self, address: StoreAddress, timeout_s: float) -> None:
        self.nodes = Nodes(address.nodes)
        self._timeout_s = timeout_s
        options, is_tls = options_of(address.url)
        self._kind = SSLConnection if is_tls else Connection
        self._options = {**plain_options(address.url), **options, "retry": Retry(NoBackoff(), 0)}
        self._trips: dict[Address, _NodeTrips] = {}
        self._looking = asyncio.Lock()

    def pool(self) -> ConnectionPool:
        """As that of Cluster."""
        return ConnectionPool(connection_class=self._kind, **self._options)

    async def ask(self, commands: Sequence[Command], seconds: float | None = None) -> list[Any]:
        """The answers in order; what a node says against one command is its answer, a ResponseError. What was not
        carried out is sent again until time is up. Raises RedisError where there is no answer.
        """
        clock, nodes = asyncio.get_running_loop().time, self.nodes
        until = clock() + (self._timeout_s if seconds is None else seconds)
        exchange = Exchange(commands, nodes)
        while True:
            if nodes.is_old and not exchange.has_moved:
                await self._look(until)
            await self._round(exchange, until - clock())
            pause_s = exchange.pause_s()
            if pause_s is None:
                return exchange.answers
            if clock() + pause_s >= until:
                for _, error in exchange.refusals():
                    if not isinstance(error, ResponseError):
                        raise error
                return exchange.answers
            if pause_s:
                await asyncio.sleep(pause_s)

    async def ask_at(self, at: Address, commands: Sequence[Command], seconds: float | None = None) -> list[Any]:
        """The same with this node, which is asked once."""
        trips = self._trips.get(at)
        if trips is None:
            host, port = at
            connect_s = self._timeout_s * CONNECT_SHARE
            options = {**self._options, "socket_connect_timeout": connect_s, "socket_timeout": None}
            pool = ConnectionPool(connection_class=self._kind, host=host, port=port, **options)
            trips = self._trips[at] = _NodeTrips(pool, self._timeout_s)
        return await trips.ask(commands, seconds)

    async def masters(self) -> tuple[Address, ...]:
        if self.nodes.is_old:
            await self._look(asyncio.get_running_loop().time() + self._timeout_s)
        return self.nodes.masters

    async def leave(self) -> None:
        self.nodes.is_old = True
        for trips in self._trips.values():
            await trips.leave()

    async def aclose(self) -> None:
        for trips in self._trips.values():
            await trips.aclose()

    async def _round(self, exchange: Exchange, seconds: float) -> None:
        batches = exchange.batches()
        asked = [self.ask_at(at, batch.commands, seconds) for at, batch in batches.items()]
        found: list[Any]
        if len(asked) == 1:
            try:
                found = [await asked[0]]
            except RedisError as error:
                found = [error]
        else:
            found = await asyncio.gather(*asked, return_exceptions=True)
        lost: BaseException | None = None
        for (at, batch), answers in zip(batches.items(), found, strict=True):
            match answers:
                case NotSent():
                    exchange.fail(batch, answers)
                case BaseException():
                    self.nodes.doubt(at)
                    lost = answers
                case _:
                    exchange.take(at, batch, answers)
        if lost is not None:
            raise lost

    async def _look(self, until: float) -> None:
        """As that of Cluster."""
        if self.nodes.version and self._looking.locked():
            return
        clock = asyncio.get_running_loop().time
        async with self._looking:
            if not self.nodes.is_old:
                return
            for at in self.nodes.to_ask():
                if clock() >= until:
                    return
                try:
                    (answer,) = await self.ask_at(at, [LOOK], min(self._timeout_s * LOOK_SHARE, until - clock()))
                    if isinstance(answer, RedisError):
                        raise answer
                except RedisError as error:
                    self.nodes.refused(at, error)
                    continue
                self.nodes.learn(answer, at)
                await self._drop_others()
                return

    async def _drop_others(self) -> None:
        """The connections to nodes that are none any more, or none that is asked."""
        for at in self._trips.keys() - {*self.nodes.masters}:
            await self._trips[at].leave()


class _NodeTrips(RoundTrips):
    """Says where nothing was sent."""

    async def _connect(self, connection: Any) -> None:
        try:
            await super()._connect(connection)
        except AuthenticationError:
            raise
        except (RedisConnectionError, RedisTimeoutError) as error:
            raise NotSent(str(error)) from None


class _AsyncNode(AsyncRedis):
    """One node of a cluster."""

    def __init__(self, trips: ClusterTrips, at: Address) -> None:
        super().__init__(connection_pool=trips.pool())
        self._trips, self._at = trips, at

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        (answer,) = await self._trips.ask_at(self._at, [words(args)])
        return parsed(self, args[0], answer, options)


class AsyncCluster(AsyncRedis):
    """As AsyncStore, of a cluster."""

    layout: Layout
    is_cluster = True

    def __init__(self, trips: ClusterTrips, shards: int | None, app_ids: Sequence[str]) -> None:
        super().__init__(connection_pool=trips.pool())
        self.round_trips, self.shards, self.app_ids = trips, shards, app_ids

    async def learn_layout(self) -> None:
        """Raises RedisError."""
        self.layout = await layout_of_async(self, self.shards, self.app_ids)

    async def follow_master(self) -> None:
        """It follows with each command: a node that lost its place says whose it is."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self.round_trips.aclose()
        await super().aclose(close_connection_pool)

    async def servers(self) -> list[AsyncRedis]:
        return [_AsyncNode(self.round_trips, at) for at in await self.round_trips.masters()]

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        command = words(args)
        if command[0] == "SCRIPT":  # whoever runs it later may be any of them
            answers = [await server.execute_command(*args, **options) for server in await self.servers()]  # type: ignore[no-untyped-call]  # the library has no types here
            return answers[0]
        (answer,) = await self.round_trips.ask([command])
        return parsed(self, args[0], answer, options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "_AsyncPipe":  # noqa: ARG002  the library's
        return _AsyncPipe(self, transaction)

    async def scan_iter(self, *args: Any, **options: Any) -> AsyncIterator[Any]:  # type: ignore[override]  # as theirs is
        """Over all nodes. While slots move a key may be found twice, or not at all."""
        for server in await self.servers():
            async for key in server.scan_iter(*args, **options):
                yield key


class _AsyncPipe(Pipeline):
    def __init__(self, client: Any, transaction: bool) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction, None)
        self._trips = client.round_trips

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: ARG002  the library's
        stack, self.command_stack = self.command_stack, []
        commands = as_sent(stack, is_transaction=self.is_transaction)
        answers = await self._trips.ask(commands) if stack else []
        return unpacked(self, stack, answers, is_transaction=self.is_transaction)
