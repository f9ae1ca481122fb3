"""How many connections one listener may have, in all and from one address, and which one has to go.

Beyond a cap the newcomer is let in, and the connection that has waited longest without a whole request is closed: so an
attacker who holds many connections loses their own, and honest callers, who send at once, lose none.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

C = TypeVar("C")


class Crowd(Generic[C]):
    """`address` None belongs to a proxy that may hold as many as it wants."""

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most, self._most_per_address = most, most_per_address
        self._counts: dict[str, int] = {}
        self._waiting: dict[str | None, OrderedDict[C, None]] = {}
        self._all_waiting: OrderedDict[C, None] = OrderedDict()
        self.size = 0

    @property
    def has_room(self) -> bool:
        """Can a newcomer be let in, if need be in the place of another one?"""
        return self.size < self._most or bool(self._all_waiting)

    @property
    def is_full(self) -> bool:
        return self.size >= self._most

    def is_crowded_by(self, address: str | None) -> bool:
        """Has this address as many as it may have?"""
        return address is not None and self._counts.get(address, 0) >= self._most_per_address

    def add(self, connection: C, address: str | None) -> None:
        self.size += 1
        if address is not None:
            self._counts[address] = self._counts.get(address, 0) + 1
        self.begin_waiting(connection, address)

    def remove(self, connection: C, address: str | None) -> None:
        self.size -= 1
        self.end_waiting(connection, address)
        if address is not None:
            left = self._counts.pop(address) - 1
            if left:
                self._counts[address] = left

    def begin_waiting(self, connection: C, address: str | None) -> None:
        """It has no whole request from now on."""
        self._all_waiting[connection] = None
        self._waiting.setdefault(address, OrderedDict())[connection] = None

    def end_waiting(self, connection: C, address: str | None) -> None:
        """It has a whole request, or has ended."""
        self._all_waiting.pop(connection, None)
        if (waiting := self._waiting.get(address)) is not None:
            waiting.pop(connection, None)
            if not waiting:
                del self._waiting[address]

    def waiting(self) -> list[C]:
        """The one that has waited longest comes first."""
        return list(self._all_waiting)

    def longest_waiting(self) -> C | None:
        return next(iter(self._all_waiting), None)

    def longest_waiting_of(self, address: str | None) -> C | None:
        return next(iter(self._waiting.get(address, ())), None)
