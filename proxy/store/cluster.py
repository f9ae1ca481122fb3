"""A cluster, for threads: each command goes to the node that has its slot, to several nodes side by side.

Connections are redis-py's. Its cluster clients are not used. A pipeline of theirs refuses EVALSHA, WAIT asks all
masters and adds up, XREADGROUP is preceded by COMMAND GETKEYS. They try ten times, whatever the caller's time limit;
what they raise where no node answers is no RedisError; and they cannot use a CLUSTER SLOTS that names no hosts.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from redis import Connection, ConnectionPool, Redis, SSLConnection
from redis.backoff import NoBackoff
from redis.client import Pipeline
from redis.exceptions import AuthenticationError, NoScriptError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from proxy.store.availability import Availability
from proxy.store.masters import options_of, plain_options
from proxy.store.packing import pack_commands
from proxy.store.slots import Address, Batch, Command, Exchange, Nodes, NotSent, is_refused, words
from proxy.store_address import StoreAddress

LOOK_SHARE = 0.2  # of a call's time: for a node that does not answer, so that there is time for another
CONNECT_SHARE, _ANSWER_SHARE = 0.4, 0.7
LOOK: Command = ("CLUSTER", "SLOTS")


class Cluster:
    """What all threads of a process know of it: who has which slots, and what does not answer."""

    def __init__(
        self,
        address: StoreAddress,
        timeout_s: float,
        clock: Callable[[], float],
        on_change: Callable[[str, str], None],
    ) -> None:
        self.nodes, self.timeout_s, self.clock = Nodes(address.nodes), timeout_s, clock
        self._at, self._on_change = address.shown, on_change
        options, self._is_tls = options_of(address.url)
        self._options = {**plain_options(address.url), **options}
        self._looking = threading.Lock()
        self._away: dict[Address | int | None, Availability] = {}

    @property
    def is_away(self) -> bool:
        """Nothing of it answers."""
        away = {key for key, it in self._away.copy().items() if it.is_away}
        return None in away or (bool(self.nodes.masters) and away.issuperset(self.nodes.masters))

    @property
    def is_troubled(self) -> bool:
        return bool(self._away)

    def client(self) -> "ThreadCluster":
        """For one thread."""
        return ThreadCluster(self)

    def connection(self, at: Address) -> Connection:
        kind = SSLConnection if self._is_tls else Connection
        host, port = at
        return kind(
            host=host,
            port=port,
            socket_connect_timeout=self.timeout_s * CONNECT_SHARE,
            socket_timeout=self.timeout_s * _ANSWER_SHARE,
            retry=Retry(NoBackoff(), 0),
            **self._options,
        )

    def pool(self) -> ConnectionPool:
        """That the library's client must have; nothing is asked over it."""
        return ConnectionPool(connection_class=SSLConnection if self._is_tls else Connection, **self._options)

    def look(self, until: float) -> None:
        """Ask who has which slots, unless another thread does so now; only the first time all wait for that."""
        patience_s = 0 if self.nodes.version else max(until - self.clock(), 0)
        if not self._looking.acquire(timeout=patience_s):
            return
        try:
            if self.nodes.is_old:
                self._look(until)
        finally:
            self._looking.release()

    def _look(self, until: float) -> None:
        before = set(self.nodes.masters)
        for at in self.nodes.to_ask():
            if self.clock() >= until:
                return
            try:
                self.nodes.learn(self._slots_by(at), at)
            except RedisError as error:
                self.nodes.refused(at, error)
                continue
            for gone in before.difference(self.nodes.masters):
                self._answered(gone)
            return

    def _slots_by(self, at: Address) -> Any:
        host, port = at
        with Redis(
            host,
            port,
            ssl=self._is_tls,
            socket_connect_timeout=self.timeout_s * LOOK_SHARE,
            socket_timeout=self.timeout_s * LOOK_SHARE,
            retry=Retry(NoBackoff(), 0),
            **self._options,
        ) as node:
            return node.execute_command(*LOOK)

    def admit(self, keys: Iterable[Address | int | None]) -> None:
        """Returns for a caller that may ask them. Raises StoreUnavailable."""
        for key in keys:
            if it := self._away.get(key):
                it.admit()

    def failed(self, keys: Iterable[Address | int | None], error: str) -> None:
        for key in keys:
            self._away.setdefault(key, Availability(self._named(key), self.clock, self._on_change)).failed(error)

    def answered(self, keys: Iterable[Address | int | None]) -> None:
        for key in (None, *keys):
            self._answered(key)

    def _answered(self, key: Address | int | None) -> None:
        if it := self._away.pop(key, None):
            it.answered()

    def _named(self, key: Address | int | None) -> str:
        match key:
            case None:
                return self._at
            case int():
                return f"slot {key} of {self._at}"
            case host, port:
                return f"{host}:{port} of {self._at}"


class ThreadCluster(Redis):
    """A thread's own client: a connection to each node that it has asked. `failing`: what its last errors are about."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(connection_pool=cluster.pool())
        self._cluster, self._nodes = cluster, cluster.nodes
        self._connections: dict[Address, Connection] = {}
        self.failing: list[Address | int | None] = []

    def close(self) -> None:
        self._drop(list(self._connections))

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """The answers in order; what a node says against one command is its answer, a ResponseError. What was not
        carried out is sent again until time is up. Raises RedisError where there is no answer.
        """
        cluster, nodes = self._cluster, self._nodes
        until = cluster.clock() + cluster.timeout_s
        exchange, admitted = Exchange(commands, nodes), set[Address | int | None]()
        self.failing = []
        cluster.admit([None])
        while True:
            if nodes.is_old and not exchange.has_moved:
                self._look(until)
            self._round(exchange, until, admitted)
            pause_s = exchange.pause_s()
            if pause_s is None:
                if cluster.is_troubled:
                    cluster.answered([*exchange.slots(), *exchange.asked()])
                return exchange.answers
            if cluster.clock() + pause_s >= until:
                return self._given_up(exchange)
            if pause_s:
                time.sleep(pause_s)

    def servers(self) -> list["Redis"]:
        """A client for each master."""
        if self._nodes.is_old:
            self._look(self._cluster.clock() + self._cluster.timeout_s)
        return [_Node(self, at, self.connection_pool) for at in self._nodes.masters]

    def exchange_at(self, at: Address, commands: Sequence[Command]) -> list[Any]:
        """The same with this node, which is asked once."""
        until = self._cluster.clock() + self._cluster.timeout_s
        self._cluster.admit([at])
        self.failing = []
        return self._ask({at: Batch(list(commands))}, until)[at]

    def execute_command(self, *args: Any, **options: Any) -> Any:
        command = words(args)
        if command[0] == "SCRIPT":  # whoever runs it later may be any of them
            answers: list[Any] = [server.execute_command(*args, **options) for server in self.servers()]  # type: ignore[no-untyped-call]  # the library has no types here
            return answers[0]
        return parsed(self, args[0], self.exchange([command])[0], options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "_Pipe":  # noqa: ARG002  the library's
        return _Pipe(self, transaction)

    def scan_iter(self, *args: Any, **options: Any) -> Iterator[Any]:
        """Over all nodes. While slots move a key may be found twice, or not at all."""
        for server in self.servers():
            yield from server.scan_iter(*args, **options)

    def _look(self, until: float) -> None:
        try:
            self._cluster.look(until)
        except RedisError:
            self.failing = [None]
            raise

    def _round(self, exchange: Exchange, until: float, admitted: set[Address | int | None]) -> None:
        """`admitted`: what this caller may ask already. It may be the one that tries, and is no other."""
        batches = exchange.batches()
        if self._cluster.is_troubled:
            asked: list[Address | int | None] = [*batches, *exchange.slots()]
            self._cluster.admit(it for it in dict.fromkeys(asked) if it not in admitted)
            admitted.update(asked)
        for at, answers in self._ask(batches, until, exchange).items():
            exchange.take(at, batches[at], answers)

    def _ask(
        self, batches: dict[Address, Batch], until: float, exchange: Exchange | None = None
    ) -> dict[Address, list[Any]]:
        """Sent to all before the first is waited for. `exchange` hears of those to which nothing could be sent."""
        asked: list[Address] = []
        answers: dict[Address, list[Any]] = {}
        at = None
        try:
            for at, batch in batches.items():
                try:
                    connection = self._connection(at)
                except NotSent as error:
                    if exchange is None:
                        raise
                    exchange.fail(batch, error)
                    continue
                asked.append(at)
                packed = pack_commands(batch.commands)
                connection.send_packed_command([packed], check_health=False)  # type: ignore[no-untyped-call]  # as above
            for at in asked:
                answers[at] = self._answers(at, len(batches[at].commands), until)
        except BaseException as error:  # answers may be on their way still
            self._drop(one for one in asked if one not in answers)
            if at and isinstance(error, RedisError):
                self.failing.append(at)
                self._nodes.doubt(at)
            raise
        return answers

    def _answers(self, at: Address, number: int, until: float) -> list[Any]:
        connection, found = self._connections[at], list[Any]()
        for _ in range(number):
            try:
                left = max(until - self._cluster.clock(), 0.001)
                found.append(connection.read_response(disable_decoding=True, timeout=left))
            except ResponseError as error:
                found.append(error)
                if not (is_refused(error) or isinstance(error, NoScriptError)):  # a script is sent whole then
                    self.failing.append(at)
        return found

    def _connection(self, at: Address) -> Connection:
        connection = self._connections.get(at)
        if connection is None:
            connection = self._cluster.connection(at)
            try:
                connection.connect()  # type: ignore[no-untyped-call]  # as above
            except AuthenticationError:
                raise
            except (RedisConnectionError, RedisTimeoutError) as error:
                raise NotSent(str(error)) from None
            self._connections[at] = connection
        return connection

    def _drop(self, some: Iterable[Address]) -> None:
        for at in some:
            if connection := self._connections.pop(at, None):
                connection.disconnect()  # type: ignore[no-untyped-call]  # as above

    def _given_up(self, exchange: Exchange) -> list[Any]:
        refused = dict(exchange.refusals())
        self.failing += refused if self._nodes.version else [None]
        for error in refused.values():
            if not isinstance(error, ResponseError):
                raise error
        return exchange.answers


class _Node(Redis):
    """One of its nodes."""

    def __init__(self, cluster: ThreadCluster, at: Address, pool: ConnectionPool) -> None:
        super().__init__(connection_pool=pool)
        self._cluster, self._at = cluster, at

    def close(self) -> None: ...

    def execute_command(self, *args: Any, **options: Any) -> Any:
        return parsed(self, args[0], self._cluster.exchange_at(self._at, [words(args)])[0], options)


class _Pipe(Pipeline):
    def __init__(self, cluster: ThreadCluster, transaction: bool) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, transaction, None)
        self._cluster, self._is_transaction = cluster, transaction

    def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: ARG002  the library's
        stack, self.command_stack = self.command_stack, []
        commands = as_sent(stack, is_transaction=self._is_transaction)
        answers = self._cluster.exchange(commands) if stack else []
        return unpacked(self, stack, answers, is_transaction=self._is_transaction)


def as_sent(stack: Sequence[Any], *, is_transaction: bool) -> list[Command]:
    commands = [words(args) for args, _ in stack]
    return [("MULTI",), *commands, ("EXEC",)] if is_transaction else commands


def unpacked(client: Any, stack: Sequence[Any], answers: Sequence[Any], *, is_transaction: bool) -> list[Any]:
    """Raises the first error."""
    if not stack:
        return []
    if is_transaction:
        if fault := next((answer for answer in answers if isinstance(answer, RedisError)), None):
            raise fault
        answers = answers[-1]
    return [parsed(client, args[0], answer, options) for (args, options), answer in zip(stack, answers, strict=True)]


def parsed(client: Any, name: str, answer: Any, options: dict[str, Any]) -> Any:
    """As the library's methods return it."""
    if isinstance(answer, RedisError):
        raise answer
    options.pop("keys", None)
    callback = client.response_callbacks.get(name)
    return callback(answer, **options) if callback else answer
