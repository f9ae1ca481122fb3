"""Reading an emulator's settings from a TOML section: every fault named, none of the values repeated."""

import difflib
from collections.abc import Mapping
from typing import Any

_UNSET: Any = object()


class BadSettings(ValueError):
    """Settings that an emulator cannot start with; one line for each fault."""


class Section:
    """One TOML table being read. Ask for each member, then call `finish`, which raises all faults at once."""

    def __init__(self, values: object, name: str = "", faults: list[str] | None = None) -> None:
        self._name = name
        self._faults: list[str] = [] if faults is None else faults
        self._asked: set[str] = set()
        self._owns_faults = faults is None
        self._values: Mapping[str, Any] = values if isinstance(values, Mapping) else {}
        if not isinstance(values, Mapping):
            self.fault(None, f"expected a table, got {type(values).__name__}")

    def fault(self, member: str | None, message: str) -> None:
        path = ".".join(part for part in (self._name, member) if part)
        self._faults.append(f"{path}: {message}" if path else message)

    def text(self, member: str, default: str = _UNSET) -> str:
        return str(self._get(member, (str,), "a non-empty text", default, ""))

    def optional_text(self, member: str) -> str | None:
        self._asked.add(member)
        return self.text(member) if member in self._values else None

    def digits(self, member: str) -> str:
        """An id of digits, written as a text or as a number."""
        value = str(self._get(member, (str, int), "a number of digits", _UNSET, "0"))
        if not (value.isascii() and value.isdigit()):
            self.fault(member, "expected a number of digits")
        return value

    def number(self, member: str, default: float, low: float, high: float) -> float:
        value = self._get(member, (int, float), "a number", default, default)
        if not low <= value <= high:
            self.fault(member, f"expected a number from {low:g} to {high:g}")
        return float(value)

    def integer(self, member: str, default: int, low: int, high: int) -> int:
        value = self._get(member, (int,), "a whole number", default, default)
        if not low <= value <= high:
            self.fault(member, f"expected a whole number from {low} to {high}")
        return int(value)

    def flag(self, member: str, *, default: bool) -> bool:
        self._asked.add(member)
        value = self._values.get(member, default)
        if not isinstance(value, bool):
            self.fault(member, f"expected true or false, got {type(value).__name__}")
        return bool(value)

    def choice(self, member: str, choices: tuple[str, ...], default: str) -> str:
        value = self.text(member, default)
        if value not in choices:
            self.fault(member, f"expected one of {', '.join(choices)}")
        return value

    def texts(self, member: str) -> tuple[str, ...]:
        value = self._get(member, (list,), "a list of texts", [], [])
        if any(not isinstance(item, str) or not item for item in value):
            self.fault(member, "expected a list of non-empty texts")
        return tuple(str(item) for item in value)

    def tables(self, member: str) -> list["Section"]:
        value = self._get(member, (list,), "a list of tables", [], [])
        path = f"{self._name}.{member}" if self._name else member
        return [Section(item, f"{path}[{index}]", self._faults) for index, item in enumerate(value)]

    def finish(self) -> None:
        """Name the members nobody asked for; the outermost section raises BadSettings if there were faults."""
        for member in sorted(str(key) for key in self._values.keys() - self._asked):
            near = difflib.get_close_matches(member, self._asked, 1)
            self.fault(member, "unknown" + (f"; did you mean {near[0]}?" if near else ""))
        if self._owns_faults and self._faults:
            raise BadSettings("\n".join(self._faults))

    def _get(self, member: str, kinds: tuple[type, ...], expected: str, default: Any, instead: Any) -> Any:
        self._asked.add(member)
        value = self._values.get(member, default)
        if value is _UNSET:
            self.fault(member, f"missing; expected {expected}")
        elif isinstance(value, bool) or not isinstance(value, kinds) or value == "":
            self.fault(member, f"expected {expected}, got {'an empty text' if value == '' else type(value).__name__}")
        else:
            return value
        return instead
