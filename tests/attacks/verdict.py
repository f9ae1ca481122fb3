"""Whether honest callers were kept from anything, as a table. No I/O."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.attacks.kinds import Attack
from tests.bench.figures import number


@dataclass(frozen=True)
class Calls:
    """Times of all calls of a kind, answered or not, and what those that were not answered 200 got instead."""

    ms: Sequence[float]
    refusals: Mapping[str, int]

    @classmethod
    def of(cls, results: Sequence[Mapping[str, Any]], what: str) -> "Calls":
        mine = [result for result in results if result["what"] == what]
        refusals = Counter(result["status"] for result in mine if result["status"] != "200")
        return cls(sorted(result["ms"] for result in mine), refusals)

    def percentile(self, share: float) -> float:
        return self.ms[int(len(self.ms) * share)]

    @property
    def refused(self) -> int:
        return sum(self.refusals.values())


@dataclass(frozen=True)
class Round:
    """What honest callers saw, how many of the messages answered 200 reached no phone, and what the attacker saw."""

    callbacks: Calls
    tokens: Calls
    not_pushed: int
    attacker: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """An attack, beside the same calls without it. With `times` the limit of p99 counts."""

    attack: Attack
    sockets: int
    many: bool
    calm: Round
    under: Round
    times: bool = True

    @property
    def ratio(self) -> float:
        return self.under.callbacks.percentile(0.99) / self.calm.callbacks.percentile(0.99)

    @property
    def faults(self) -> list[str]:
        """Why this is a miss; [] where it is none."""
        found = []
        for what, calls in (("callbacks", self.under.callbacks), ("token calls", self.under.tokens)):
            if calls.refused:
                how = ", ".join(f"{times} x {status}" for status, times in calls.refusals.items())
                found.append(f"{calls.refused} of {len(calls.ms)} {what} refused: {how}")
        if self.under.not_pushed:
            found.append(f"{self.under.not_pushed} callbacks answered 200 reached no phone")
        most = self.attack.at_most
        if self.times and most is not None and self.ratio > most:
            found.append(f"p99 is {number(self.ratio)} times that without it, over {number(most)}")
        return found


HEAD = (
    "| attack | sockets | addresses | callbacks without: p50, p99 ms | under: p50, p99 ms | p99 ratio | at most "
    "| refused | token calls: p99 ms | the attacker saw | |\n|---|---|---|---|---|---|---|---|---|---|---|"
)


def line(row: Row) -> str:
    calm, under, tokens = row.calm.callbacks, row.under.callbacks, row.under.tokens
    cells = [
        row.attack.name, str(row.sockets), "many" if row.many else "one", _times(calm), _times(under),
        number(row.ratio), "stated" if row.attack.at_most is None else number(row.attack.at_most),
        str(under.refused + tokens.refused), number(tokens.percentile(0.99)), _seen(row.under.attacker),
        f"**miss**: {'; '.join(row.faults)}" if row.faults else "pass",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _times(calls: Calls) -> str:
    return f"{number(calls.percentile(0.5))}, {number(calls.percentile(0.99))}"


def _seen(attacker: Mapping[str, Any]) -> str:
    """Answers by status, connections that ended, the most that were open."""
    if not attacker:
        return ""
    answers = [f"{times} x {status}" for status, times in sorted(attacker["answers"].items())]
    return ", ".join([*answers, f"{attacker['ended']} ended", f"{attacker['most_open']} open at once"])
