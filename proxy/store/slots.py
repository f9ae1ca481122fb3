"""Which node of a cluster each command goes to, and what to do about a node that does not carry it out. No I/O.

A key's slot says whose it is. Source: the Cluster specification, redis.io/docs/reference/cluster-spec.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

Address = tuple[str, int]
Command = Sequence[Any]

_NO_KEY = frozenset({
    "ACL", "ASKING", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DBSIZE", "ECHO", "EXEC", "HELLO", "INFO", "LATENCY",
    "MULTI", "PING", "ROLE", "SCAN", "SCRIPT", "SLOWLOG", "TIME", "WAIT",
})  # fmt: skip
_KEY_IS_SECOND = frozenset({"MEMORY", "OBJECT", "XGROUP", "XINFO"})
_KEYS_ARE_COUNTED = frozenset({"EVAL", "EVALSHA"})  # after a script
_KEYS_COME_LAST = frozenset({"XREAD", "XREADGROUP"})
_STREAMS = ("STREAMS", b"STREAMS")  # as the library's methods write it
_READS = frozenset({
    "EXISTS", "GET", "HEXISTS", "HGET", "HGETALL", "HLEN", "HMGET", "LLEN", "MGET", "PTTL", "SCARD", "SISMEMBER",
    "SMISMEMBER", "TTL", "XLEN", "XPENDING", "XRANGE", "XREVRANGE", "ZCARD", "ZCOUNT", "ZRANGE", "ZRANGEBYSCORE",
    "ZSCORE",
})  # fmt: skip
_ASKING = ("ASKING",)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 0.1


class NotSent(RedisConnectionError):
    """No connection could be made: nothing was carried out."""


class NoClusterNode(NotSent):
    """It is not known who has the slot, or nobody has it."""


class NodeAway(RedisConnectionError):
    """The node that has the slot gives no answer, and others do: what lies there may go on."""


def slot_of(command: Command) -> int | None:
    """None: any node may answer."""
    key = _first_key(command)
    if key is None:
        return None
    return key_slot(key.encode() if isinstance(key, str) else key)


def _first_key(command: Command) -> Any:
    """All our commands have all their keys in one slot."""
    name = command[0]
    if name in _KEYS_ARE_COUNTED:
        return command[3] if int(command[2]) else None
    if name in _NO_KEY:
        return None
    if name in _KEYS_COME_LAST:
        return command[next(place for place, word in enumerate(command) if word in _STREAMS) + 1]
    return command[2] if name in _KEY_IS_SECOND else command[1]


class Nodes:
    """The masters of a cluster, as far as they are known. `version` grows with each look at all of them."""

    def __init__(self, some: Sequence[Address]) -> None:
        """Some of its nodes, to be asked for the others."""
        self._some = tuple(some)
        self._owners: list[Address | None] = []
        self._doubted = set[Address]()
        self._others: tuple[Address, ...] = ()  # replicas
        self._newest: tuple[Address, ...] = ()  # who was last said to have a slot: others may hear of it later
        self.masters: tuple[Address, ...] = ()
        self.is_old = True  # it is time to look again
        self.version = 0

    def owner(self, slot: int) -> Address | None:
        return self._owners[slot] if self._owners else None

    def any(self) -> Address | None:
        """One that answered last time, if there is such a one."""
        return next((at for at in self.masters if at not in self._doubted), next(iter(self.masters), None))

    def to_ask(self) -> list[Address]:
        """Where to ask who has which slots; last, who did not answer lately."""
        every = dict.fromkeys([*self._newest, *self.masters, *self._others, *self._some])
        return sorted(every, key=lambda at: at in self._doubted)

    def learn(self, answer: Sequence[Any], asked: Address) -> None:
        """What CLUSTER SLOTS says. A node without a name has that by which it was asked."""
        owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        masters: dict[Address, None] = {}
        others: dict[Address, None] = {}
        for first, last, *nodes in answer:
            at, *replicas = [(_named(host, asked), int(port)) for host, port, *_ in nodes]
            masters[at] = None
            others |= dict.fromkeys(replicas)
            owners[first : last + 1] = [at] * (last + 1 - first)
        self._owners, self.masters, self._others = owners, tuple(masters), tuple(others)
        self.version += 1
        self.is_old = False

    def moved(self, slot: int, at: Address) -> None:
        """That one slot is there now. Others may be too, so it is time to look again."""
        if self._owners:
            self._owners[slot] = at
        self._newest, self.is_old = (at,), True

    def doubt(self, at: Address) -> None:
        """It does not answer, or not as a master."""
        self._doubted.add(at)
        self.is_old = True

    def refused(self, at: Address, error: RedisError) -> None:
        """It did not say who has which slots. Raises what an operator has to mend, where nothing else is known."""
        self.doubt(at)
        if not self.version and isinstance(error, AuthenticationError):
            raise error
        if not self.version and isinstance(error, ResponseError) and not is_refused(error):
            raise NoClusterNode(str(error)) from None

    def trust(self, at: Address) -> None:
        """It answers."""
        if self._doubted:
            self._doubted.discard(at)


def _named(host: bytes | str | None, asked: Address) -> str:
    name = host.decode() if isinstance(host, bytes) else host
    return name if name and name != "?" else asked[0]


@dataclass(slots=True)
class _Unit:
    """Commands that go over one connection one behind the other: one, one and the WAIT for it, or a transaction."""

    places: list[int]
    slot: int | None
    is_safe: bool  # to be asked again
    ask_at: Address | None = None


@dataclass(slots=True)
class Batch:
    """What goes to one node. `places`: where each answer belongs, -1 for one that is not wanted."""

    commands: list[Command] = field(default_factory=list)
    places: list[int] = field(default_factory=list)


class Exchange:
    """The answers to some commands, in their order, however many nodes have to be asked how often.

    A command that a node did not carry out goes to the node that has its slot, alone: what was carried out is not
    repeated. Only plain reads of that slot that stand behind it are, and a WAIT with the write in front of it, which
    must be one that changes nothing: they speak of what it did.
    """

    def __init__(self, commands: Sequence[Command], nodes: Nodes) -> None:
        self.answers: list[Any] = [None] * len(commands)
        self._commands, self._nodes = commands, nodes
        self._all = self._pending = _units(commands)
        self._asked: dict[int, Address] = {}  # who was asked last, by a unit's first place
        self.has_moved = False  # a node has just said where to: what another one says now may be older
        self.has_failed = False  # some of it is left without an answer
        self._pauses = 0

    def batches(self) -> dict[Address, Batch]:
        """What is to be sent now."""
        found: dict[Address, Batch] = {}
        for unit in self._pending:
            at = self._place_of(unit, found)
            if at is None:
                self.answers[unit.places[0]] = NoClusterNode("no node of the cluster is known to have the slot")
                continue
            batch = found.get(at)
            if batch is None:
                batch = found[at] = Batch()
            if unit.ask_at:
                batch.commands.append(_ASKING)
                batch.places.append(-1)
            self._asked[unit.places[0]] = at
            for place in unit.places:
                batch.commands.append(self._commands[place])
                batch.places.append(place)
        return found

    def _place_of(self, unit: _Unit, others: dict[Address, Batch]) -> Address | None:
        if unit.ask_at:
            return unit.ask_at
        if unit.slot is not None:
            return self._nodes.owner(unit.slot)
        return next(iter(others), None) or self._nodes.any()

    def take(self, at: Address, batch: Batch, answers: Iterable[Any]) -> None:
        self._nodes.trust(at)
        for place, answer in zip(batch.places, answers, strict=True):
            if place >= 0:
                self.answers[place] = answer

    def fail(self, batch: Batch, error: RedisError) -> None:
        """There is no answer to any of it; NotSent: it was not sent, and is to be sent again."""
        self.has_failed = True
        for place in batch.places:
            if place >= 0:
                self.answers[place] = error

    def pause_s(self) -> float | None:
        """None: all is answered. Else what was not carried out is to be sent again, after so long."""
        self.has_moved = False
        refused = {unit.places[0] for unit in self._pending if self._is_refused(unit)}
        if not refused:
            return None
        slots = {unit.slot for unit in self._pending if unit.places[0] in refused}
        first = min(refused)
        self._pending = [
            unit
            for unit in self._all
            if unit.places[0] in refused or (unit.is_safe and unit.slot in slots and unit.places[0] > first)
        ]
        self._pauses += 1
        if self._pauses == 1 and not any(self._needs_time(unit) for unit in self._pending):
            return 0.0
        return float(min(_FIRST_PAUSE_S * 2 ** min(self._pauses - 1, 10), _LONGEST_PAUSE_S))

    @property
    def is_partly_answered(self) -> bool:
        """Some node has carried out what it was asked."""
        return any(not any(map(is_unanswered, self._answers_of(unit))) for unit in self._all)

    def asked(self) -> Iterable[Address]:
        return self._asked.values()

    def slots(self) -> Iterable[int]:
        """Of what is to be sent."""
        return (unit.slot for unit in self._pending if unit.slot is not None)

    def refusals(self) -> Iterable[tuple[Address | int | None, RedisError]]:
        """What is not carried out when time is up: by node where that is its fault, by slot where the slot moves, None:
        nothing is known of the cluster.
        """
        for unit in self._pending:
            refusal = self._refusal(unit)
            if isinstance(refusal, NoClusterNode | TryAgainError | AskError):
                yield unit.slot, refusal
            elif refusal is not None:
                yield self._asked[unit.places[0]], refusal

    def _is_refused(self, unit: _Unit) -> bool:
        unit.ask_at, refusal = None, self._refusal(unit)
        if refusal is None:
            return False
        if isinstance(refusal, NoClusterNode):
            self._nodes.is_old = True
            return True
        asked = self._asked[unit.places[0]]
        match refusal:
            case MovedError() as moved:
                self._nodes.moved(moved.slot_id, (moved.host or asked[0], moved.port))
                self.has_moved = True
            case AskError() as ask:
                unit.ask_at = ask.host or asked[0], ask.port
            case TryAgainError():
                pass
            case _:
                self._nodes.doubt(asked)
        return True

    def _refusal(self, unit: _Unit) -> RedisError | None:
        return next((answer for answer in self._answers_of(unit) if isinstance(answer, _REFUSALS)), None)

    def _answers_of(self, unit: _Unit) -> Iterable[Any]:
        return (self.answers[place] for place in unit.places)

    def _needs_time(self, unit: _Unit) -> bool:
        refusal = self._refusal(unit)
        return refusal is not None and not isinstance(refusal, AskError)


# MOVED is an AskError to the library, MASTERDOWN a ClusterDownError. What is read-only has written nothing.
_REFUSALS = (AskError, ClusterDownError, NotSent, ReadOnlyError, TryAgainError)


def is_unanswered(answer: Any) -> bool:
    """Nothing is known of what was asked, or the node has not carried it out."""
    return isinstance(answer, RedisError) and (not isinstance(answer, ResponseError) or is_refused(answer))


def is_refused(error: RedisError) -> bool:
    """The node carried nothing out, and another one may, or the same a little later."""
    return isinstance(error, _REFUSALS)


def _units(commands: Sequence[Command]) -> list[_Unit]:
    units: list[_Unit] = []
    is_open = False
    for place, command in enumerate(commands):
        name = command[0]
        if units and (is_open or name == "WAIT"):
            unit = units[-1]
            unit.places.append(place)
            if unit.slot is None:
                unit.slot = slot_of(command)
            unit.is_safe = unit.is_safe or name == "WAIT"
            is_open = is_open and name != "EXEC"
        else:
            units.append(_Unit([place], slot_of(command), name in _READS))
            is_open = name == "MULTI"
    return units


def words(args: Sequence[Any]) -> Command:
    """A command of the library's methods, which write a name of two words in one: ("XINFO GROUPS", key)."""
    name = args[0]
    return (*name.split(" "), *islice(args, 1, None)) if " " in name else args
