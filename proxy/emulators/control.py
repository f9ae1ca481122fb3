"""What all emulators have in common: faults to order and a journal to read.

    POST   /_emulator/faults   order a fault (one object or a list of them)
    GET    /_emulator/faults   the faults still in force
    PUT    /_emulator/faults   these (a list) from now on, in place of all others
    DELETE /_emulator/faults   end them all
    GET    /_emulator/journal  what came in, in order: {"entries": [...], "last": n}; ?after=n for what is new,
                              ?newest=n for no more than the last n of it
    DELETE /_emulator/journal  clear it, for runs of hours: {"forgotten": n}; numbers go on

`last` is the number of the newest entry there has been. To follow a journal, ask again with `after` set to it; one that
is below `after` says that the emulator has been started anew. A very large `after` asks for `last` alone.

A fault is {"effect": ..., "times"?: n, "share"?: 0..1, "target"?: text, "status"?: n, "reason"?: text, "code"?: n,
"delay_ms"?: n, "body"?: text, "content_type"?: text, "retry_after"?: text}: it hits the next `times` requests (for ever
without), a `share` of them (all), only those whose target (device token, account, registration id, path: each emulator
says which) is `target`. Which effects there are is the emulator's own; an unknown one is refused with the list.
"""

import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue


@dataclass(frozen=True)
class Fault:
    """One ordered fault. None means: no limit, or not specified."""

    effect: str
    times: int | None = None
    share: float = 1.0
    target: str | None = None
    status: int | None = None
    reason: str | None = None
    code: int | None = None
    delay_ms: int | None = None
    body: str | None = None
    content_type: str | None = None
    retry_after: str | None = None


_KINDS: Mapping[str, tuple[type, ...]] = {
    "effect": (str,), "times": (int,), "share": (int, float), "target": (str,),
    "status": (int,), "reason": (str,), "code": (int,), "delay_ms": (int,),
    "body": (str,), "content_type": (str,), "retry_after": (str,),
}  # fmt: skip


def parse_fault(order: object, effects: Collection[str]) -> Fault:
    """Read one ordered fault. Raises ValueError naming what is wrong with it."""
    if not isinstance(order, dict):
        raise ValueError("a fault is a JSON object")
    if unknown := sorted(order.keys() - {field.name for field in fields(Fault)}):
        raise ValueError(f"unknown members: {', '.join(unknown)}")
    for name, value in order.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, _KINDS[name])):
            raise ValueError(f"{name}: expected {_KINDS[name][-1].__name__}, got {type(value).__name__}")
    if order.get("effect") not in effects:
        raise ValueError(f"effect: expected one of {', '.join(sorted(effects))}")
    fault = Fault(**{name: value for name, value in order.items() if value is not None})
    if not 0 <= fault.share <= 1:
        raise ValueError("share: expected 0 to 1")
    return fault


class FaultBook:
    """The faults in force, oldest first. Safe to use from several threads."""

    def __init__(self, seed: int = 1) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._dice = random.Random(seed)  # noqa: S311  which request is hit is no secret

    def order(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        self.replace(())

    def replace(self, faults: Iterable[Fault]) -> None:
        """These from now on, and no others; no request meets a moment between."""
        with self._lock:
            self._faults = list(faults)

    def in_force(self) -> list[Fault]:
        with self._lock:
            return list(self._faults)

    def take(self, target: str | Collection[str] | None = None, effects: Collection[str] | None = None) -> Fault | None:
        """The first fault that hits a request for `target` (or one of several), counted down.

        `effects` limits it to some kinds.
        """
        targets = {target} if isinstance(target, str) else set(target or ())
        with self._lock:
            for index, fault in enumerate(self._faults):
                if (fault.target is not None and fault.target not in targets) or (
                    effects is not None and fault.effect not in effects
                ):
                    continue
                if self._dice.random() >= fault.share:
                    continue
                if fault.times is not None:
                    left = replace(fault, times=fault.times - 1)
                    self._faults[index : index + 1] = [left] if left.times else []
                return fault
        return None


class Journal:
    """Every request an emulator took or refused, in order. Credentials are never part of it."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []
        self._forgotten = 0
        self._lock = threading.Lock()

    def write(self, **facts: Any) -> int:
        """Append an entry and return its number, from 1 on; `monotonic_ms` says when."""
        with self._lock:
            number = self._forgotten + len(self._entries) + 1
            self._entries.append({"number": number, "monotonic_ms": time.monotonic_ns() // 1_000_000, **facts})
            return number

    def read(self, after: int = 0) -> tuple[list[dict[str, Any]], int]:
        """The entries with numbers above `after`, and the newest number there has been (0: none)."""
        with self._lock:
            return self._entries[max(after - self._forgotten, 0) :], self._forgotten + len(self._entries)

    def clear(self) -> int:
        """Drop what there is; returns how many entries."""
        with self._lock:
            count = len(self._entries)
            self._entries.clear()
            self._forgotten += count
            return count


def control_blueprint(
    journal: Journal, faults: FaultBook, effects: Collection[str], counters: Callable[[], dict[str, int]] = dict
) -> Blueprint:
    """The control routes; `counters` adds an emulator's own figures to the journal's answer."""
    bp = Blueprint("control", __name__, url_prefix="/_emulator")

    @bp.post("/faults")
    def order_faults() -> ResponseReturnValue:
        orders = given_json()
        try:
            parsed = [parse_fault(order, effects) for order in (orders if isinstance(orders, list) else [orders])]
        except ValueError as error:
            return jsonify(error=str(error)), 400
        for fault in parsed:
            faults.order(fault)
        return jsonify(ordered=len(parsed))

    @bp.get("/faults")
    def faults_in_force() -> ResponseReturnValue:
        return jsonify(faults=[asdict(fault) for fault in faults.in_force()])

    @bp.put("/faults")
    def replace_faults() -> ResponseReturnValue:
        orders = given_json()
        if not isinstance(orders, list):
            return jsonify(error="expected a list of faults"), 400
        try:
            parsed = [parse_fault(order, effects) for order in orders]
        except ValueError as error:
            return jsonify(error=str(error)), 400
        faults.replace(parsed)
        return jsonify(ordered=len(parsed))

    @bp.delete("/faults")
    def clear_faults() -> ResponseReturnValue:
        faults.clear()
        return jsonify(ordered=0)

    @bp.get("/journal")
    def read_journal() -> ResponseReturnValue:
        try:
            after, newest = asked_number("after"), asked_number("newest")
        except ValueError as error:
            return jsonify(error=str(error)), 400
        entries, last = journal.read(after)
        entries = entries[-newest:] if newest > 0 else entries
        return jsonify(entries=entries, last=last, counters=counters())

    @bp.delete("/journal")
    def forget_journal() -> ResponseReturnValue:
        return jsonify(forgotten=journal.clear())

    return bp


def asked_number(name: str) -> int:
    """A whole number in the query, 0 without. Raises ValueError."""
    try:
        return request.args.get(name, 0, type=int)
    except UnicodeDecodeError:
        raise ValueError("query: expected UTF-8") from None


def given_json() -> Any:
    """The request's body as JSON, whatever its content type; None if it is not JSON or nested too deep."""
    try:
        return request.get_json(force=True, silent=True)
    except RecursionError:
        return None
