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
from proxy.store.round_trips import RoundTrips, waited_for
from proxy.store.slots import Address, Batch, Command, Exchange, NodeAway, Nodes, NotSent, is_unanswered, words
from proxy.store_address import StoreAddress

_PATIENCE_S = 0.5  # with what a node refuses, where others have done their part
_SILENCE_S = 2.0  # of a node, likewise
_REST_S = 1.0  # for a node that gave no answer; then one caller tries it
_PROBE_S = 0.5
_LOOK_EVERY_S = 0.25  # while a node rests: another may have its slots


class ClusterTrips:
    """What RoundTrips is for one server.

    A node that gives no answer holds up no other: what lies there is answered NodeAway, at once while it rests.
    """

    def __init__(self, address: StoreAddress, timeout_s: float) -> None:
        self.nodes = Nodes(address.nodes)
        self._timeout_s = timeout_s
        options, is_tls = options_of(address.url)
        self._kind = SSLConnection if is_tls else Connection
        self._options = {**plain_options(address.url), **options, "retry": Retry(NoBackoff(), 0)}
        self._trips: dict[Address, _NodeTrips] = {}
        self._rests: dict[Address, float] = {}  # nodes that gave no answer, until then
        self._looked_at = 0.0
        self._looking = asyncio.Lock()

    def pool(self) -> ConnectionPool:
        """As that of Cluster."""
        return ConnectionPool(connection_class=self._kind, **self._options)

    async def ask(self, commands: Sequence[Command], seconds: float | None = None) -> list[Any]:
        """The answers in order; what a node says against one command is its answer, a ResponseError. What was not
        carried out is sent again until time is up. Where some nodes give no answer, that is a NodeAway. Raises
        RedisError where none does.
        """
        clock, nodes = asyncio.get_running_loop().time, self.nodes
        began = clock()
        until = began + (self._timeout_s if seconds is None else seconds)
        exchange = Exchange(commands, nodes)
        while True:
            if self._rests and clock() >= self._looked_at + _LOOK_EVERY_S:
                nodes.is_old = True
            if nodes.is_old and not exchange.has_moved:
                await self._look(until)
            await self._round(exchange, until - clock())
            pause_s = exchange.pause_s()
            if pause_s is None:
                break
            if clock() + pause_s >= (min(until, began + _PATIENCE_S) if exchange.is_partly_answered else until):
                self._give_up(exchange)
                break
            if pause_s:
                await asyncio.sleep(pause_s)
        return self._outcome(exchange) if exchange.has_failed else exchange.answers

    def _give_up(self, exchange: Exchange) -> None:
        exchange.has_failed = True
        for at, error in exchange.refusals():
            if isinstance(at, tuple) and isinstance(error, NotSent):
                self._rests[at] = asyncio.get_running_loop().time() + _REST_S

    def _outcome(self, exchange: Exchange) -> list[Any]:
        answers = exchange.answers
        if exchange.is_partly_answered:
            return [_away(answer) if is_unanswered(answer) else answer for answer in answers]
        unanswered = filter(is_unanswered, answers)
        lost = next((error for error in unanswered if not isinstance(error, ResponseError)), None)
        if lost is None:
            return answers
        raise lost if self._rests.keys() >= {*self.nodes.masters} else _away(lost)

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
        clock = asyncio.get_running_loop().time
        now, asked = clock(), dict[Address, Batch]()
        tried = set[Address]()  # nodes that have rested
        for at, batch in exchange.batches().items():
            rests_until = self._rests.get(at)
            if rests_until is not None and now < rests_until:
                exchange.fail(batch, NodeAway("it gave none just now"))
                continue
            asked[at] = batch
            if rests_until is not None:
                self._rests[at] = now + _PROBE_S + _REST_S  # the others need not try it too
                tried.add(at)
        for at, answers in (await self._ask_all(asked, tried, seconds)).items():
            if not isinstance(answers, BaseException):
                self._rests.pop(at, None)
                exchange.take(at, asked[at], answers)
                continue
            if not isinstance(answers, RedisError):
                raise answers
            self.nodes.doubt(at)
            if at in tried or isinstance(answers, RedisTimeoutError):
                self._rests[at] = clock() + _REST_S
                exchange.fail(asked[at], RedisConnectionError(str(answers)))
            else:
                exchange.fail(asked[at], answers)

    async def _ask_all(
        self, batches: dict[Address, Batch], tried: set[Address], seconds: float
    ) -> dict[Address, list[Any] | BaseException]:
        """Side by side. Who is silent while others have answered is not waited for until time is up."""

        async def ask(at: Address) -> list[Any] | BaseException:
            commands = batches[at].commands
            is_short = at in tried and commands[0][0] != "XREADGROUP"  # that one waits for entries
            try:
                return await self.ask_at(at, commands, min(seconds, _PROBE_S) if is_short else seconds)
            except RedisError as error:
                return error

        if len(batches) == 1:
            (at,) = batches
            return {at: await ask(at)}
        tasks = {at: asyncio.ensure_future(ask(at)) for at in batches}
        try:
            silent = await waited_for(tasks.values(), _SILENCE_S)
            if silent and not any(task.done() and isinstance(task.result(), list) for task in tasks.values()):
                await asyncio.wait(silent)
        finally:
            for task in tasks.values():
                task.cancel()
        return {at: task.result() if task.done() else RedisTimeoutError("no answer") for at, task in tasks.items()}

    async def _look(self, until: float) -> None:
        """As that of Cluster."""
        if self.nodes.version and self._looking.locked():
            return
        clock = asyncio.get_running_loop().time
        async with self._looking:
            if not self.nodes.is_old:
                return
            self._looked_at = clock()
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
            self._rests.pop(at, None)
            await self._trips[at].leave()


def _away(error: RedisError) -> NodeAway:
    return NodeAway(f"a node of the cluster does not do it: {error}")


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
