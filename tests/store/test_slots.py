"""Which node a command goes to, and what becomes of what a node does not carry out: without any server."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from proxy.store.slots import Exchange, Nodes, NotSent, slot_of, words
from proxy.store.troubles import is_the_stores_own

A, B, C = ("10.0.0.1", 7000), ("10.0.0.2", 7000), ("10.0.0.3", 7000)
SLOTS = [[0, 5460, [b"10.0.0.1", 7000, b"id"]], [5461, 10922, [b"10.0.0.2", 7000, b"id"]],
         [10923, 16383, [b"10.0.0.3", 7000, b"id"]]]  # fmt: skip
FOO, BAR = 12182, 5061  # as CLUSTER KEYSLOT says of these names
ON_C, ON_A = "{foo}", "{bar}"


def nodes(slots: Sequence[Any] = SLOTS) -> Nodes:
    known = Nodes([("start", 6379)])
    known.learn(slots, ("start", 6379))
    return known


@pytest.mark.parametrize(
    ("command", "slot"),
    [
        (("GET", "foo"), FOO),
        (("GET", b"any{foo}other"), FOO),
        (("MGET", "{bar}1", "{bar}2"), BAR),
        (("EVALSHA", "sha", 2, "{bar}1", "{bar}2", "foo"), BAR),
        (("EVAL", "return 1", 0, "foo"), None),
        (("XREADGROUP", "GROUP", "foo", "foo", "COUNT", 1, "BLOCK", 2000, "STREAMS", "bar", ">"), BAR),
        (("XREAD", "STREAMS", "{bar}s", "{bar}t", "0", "0"), BAR),
        (("XGROUP", "CREATE", "bar", "foo", "0", "MKSTREAM"), BAR),
        (words(("XINFO GROUPS", "bar")), BAR),
        (("XPENDING", "bar", "foo", "IDLE", 1, "-", "+", 1), BAR),
        (("PING",), None),
        (("SCRIPT", "LOAD", "foo"), None),
    ],
)
def test_a_command_belongs_to_the_slot_of_its_keys(command: Sequence[Any], slot: int | None) -> None:
    assert slot_of(command) == slot


def test_who_has_a_slot_is_learned_and_a_node_without_a_name_is_the_one_that_was_asked() -> None:
    known = nodes([[0, 100, [None, 7001, b"id"], [b"replica", 7002, b"id"]], [101, 16383, [b"", 7003, b"id"]]])
    assert [known.owner(slot) for slot in (0, 100, 101)] == [("start", 7001), ("start", 7001), ("start", 7003)]
    assert known.masters == (("start", 7001), ("start", 7003))
    known.doubt(("start", 7001))
    assert known.to_ask() == [("start", 7003), ("replica", 7002), ("start", 6379), ("start", 7001)]
    assert known.any() == ("start", 7003)


def carried_out(commands: Sequence[Sequence[Any]], answer: Callable[[Any, Sequence[Any], int], Any]) -> Any:
    """What is sent in each round, by node, and the answers. `answer` is asked for node, command and round."""
    exchange, rounds, pauses = Exchange(commands, nodes()), list[Any](), list[float]()
    while True:
        batches = exchange.batches()
        rounds.append({at: batch.commands for at, batch in batches.items()})
        for at, batch in batches.items():
            exchange.take(at, batch, [answer(at, command, len(rounds)) for command in batch.commands])
        pause_s = exchange.pause_s()
        if pause_s is None:
            return rounds, exchange.answers, pauses
        pauses.append(pause_s)


def test_commands_go_to_their_nodes_in_their_order_and_what_has_no_key_goes_along() -> None:
    commands = [("GET", "{foo}1"), ("GET", "{bar}1"), ("TIME",), ("GET", "{foo}2")]
    rounds, answers, _ = carried_out(commands, lambda _at, command, _: command)
    assert rounds == [{C: [commands[0], commands[2], commands[3]], A: [commands[1]]}]
    assert answers == commands


def once(error: ResponseError) -> Callable[[Any, Sequence[Any], int], Any]:
    """To INCRs, the first time."""
    return lambda _at, command, round_: error if round_ == 1 and command[0] == "INCR" else command


@pytest.mark.parametrize(
    ("error", "then", "at_once"),
    [
        (MovedError(f"{FOO} 10.0.0.2:7000"), {B: [("INCR", ON_C)]}, True),
        (MovedError(f"{FOO} :7009"), {("10.0.0.3", 7009): [("INCR", ON_C)]}, True),
        (AskError(f"{FOO} 10.0.0.1:7000"), {A: [("ASKING",), ("INCR", ON_C)]}, True),
        (TryAgainError("later"), {C: [("INCR", ON_C)]}, False),
        (ClusterDownError("down"), {C: [("INCR", ON_C)]}, False),
        (ReadOnlyError("a replica"), {C: [("INCR", ON_C)]}, False),
        (MasterDownError("a replica"), {C: [("INCR", ON_C)]}, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_was_not_carried_out_is_sent_again_alone(error: ResponseError, then: object, at_once: bool) -> None:
    commands = [("SET", "{foo}1", "x"), ("INCR", ON_C), ("SET", "{foo}2", "x"), ("SET", ON_A, "x")]
    rounds, answers, pauses = carried_out(commands, once(error))
    assert rounds[1:] == [then]
    assert answers == commands
    assert (pauses[0] == 0) is at_once
    assert is_the_stores_own(error)  # where time is up first: no job is a dead letter for it


def test_a_slot_that_moved_stays_moved_for_the_next_command() -> None:
    known = nodes()
    for expected in ([C, B], [B]):
        exchange, asked = Exchange([("INCR", ON_C)], known), list[Any]()
        while True:
            ((at, batch),) = exchange.batches().items()
            asked.append(at)
            exchange.take(at, batch, [1 if at == B else MovedError(f"{FOO} 10.0.0.2:7000")])
            if exchange.pause_s() is None:
                break
        assert asked == expected
    assert known.is_old  # others may have moved too: it is looked again before the next command
    assert known.to_ask()[0] == B  # who has it now knows that first


def test_reads_and_waits_behind_what_is_sent_again_are_asked_again_for_they_speak_of_it() -> None:
    commands = [("GET", ON_C), ("INCR", ON_C), ("SET", "{foo}2", "x"), ("GET", ON_C), ("INCRBY", "{foo}w", 0),
                ("WAIT", 1, 100), ("GET", ON_A), ("INCRBY", "{bar}w", 0), ("WAIT", 1, 100)]  # fmt: skip
    rounds, answers, _ = carried_out(commands, once(TryAgainError("later")))
    assert rounds[1:] == [{C: [commands[1], *commands[3:6]]}]
    assert answers == commands


def test_a_wait_is_for_the_node_of_the_write_in_front_of_it() -> None:
    commands = [("SET", ON_C, 1), ("SET", ON_A, 1), ("INCRBY", "{foo}w", 0), ("WAIT", 1, 9), ("INCRBY", "{bar}w", 0),
                ("WAIT", 2, 9)]  # fmt: skip
    (found,), _, _ = carried_out(commands, lambda _at, command, _: command)
    assert found == {C: [commands[0], *commands[2:4]], A: [commands[1], *commands[4:]]}


def test_a_transaction_goes_again_as_a_whole() -> None:
    commands = [("MULTI",), ("INCR", ON_C), ("SET", "{foo}2", "x"), ("EXEC",)]
    rounds, _, _ = carried_out(commands, once(AskError(f"{FOO} 10.0.0.1:7000")))
    assert rounds == [{C: commands}, {A: [("ASKING",), *commands]}]


def test_what_a_node_says_against_a_command_is_its_answer() -> None:
    error = ResponseError("WRONGTYPE")
    rounds, answers, _ = carried_out([("INCR", ON_C), ("GET", ON_C)], once(error))
    assert len(rounds) == 1
    assert answers == [error, ("GET", ON_C)]


def test_what_could_not_be_sent_is_sent_to_who_has_the_slot_then_and_the_others_answers_stand() -> None:
    known = nodes()
    exchange = Exchange([("INCR", ON_C), ("INCR", ON_A)], known)
    batches = exchange.batches()
    exchange.fail(batches[C], NotSent("refused"))
    exchange.take(A, batches[A], [1])
    assert exchange.pause_s()
    assert known.is_old
    assert dict(exchange.refusals()).keys() == {C}
    known.learn([*SLOTS[:2], [10923, 16383, [b"10.0.0.4", 7000, b"id"]]], A)
    ((at, batch),) = exchange.batches().items()
    exchange.take(at, batch, [2])
    assert exchange.pause_s() is None
    assert (at, exchange.answers) == (("10.0.0.4", 7000), [2, 1])


def test_a_slot_that_nobody_serves_is_asked_for_until_somebody_does() -> None:
    known = nodes(SLOTS[:2])
    exchange = Exchange([("INCR", ON_C)], known)
    assert exchange.batches() == {}
    assert exchange.pause_s()
    assert dict(exchange.refusals()).keys() == {FOO}
    known.learn(SLOTS, A)
    assert list(exchange.batches()) == [C]
