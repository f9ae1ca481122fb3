"""What the auditor found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.standstill import MOST_MS, Standstill

KINDS = (
    "lost", "shown twice", "unexcused repeat", "order", "wrong phone",
    "recalled text", "read alert", "taken back", "badge", "counted twice", "too early",
)  # fmt: skip
_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One offence; `kind` is one of KINDS, `alert` the word and for whom, `times` say what was seen when."""

    kind: str
    word: str
    alert: str
    times: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.word} for {self.alert}: {self.times}"


@dataclass(frozen=True)
class Verdict:
    """A run's figures.

    `due` is what surely had to arrive, `undecidable` what did not arrive and need not have; `withdrawn` counts what did
    not because it had been read or recalled, `told` what was told with others, in folds of which `told_together` says
    what else is known, `taken_back` what else is known of those, and `still_there` by its excuse
    what phones show all the same, and numbers that could not be judged. `duplicates` counts posts
    of a callback after its first. `delivered` counts the alerts to which the `pushes` belong, `excused` the repeats by
    their excuse. `slowest` names the alert with the worst recovery. `standstills` are the longest time without a reason
    of each lane, `unexplained` by provider the share of the run in which such a time could be seen. `outage_ms` is how
    long all lanes together were still around a fault of the store, `no_intake_ms` how long no post was answered 200.
    """

    messages: int
    due: int
    duplicates: int
    faults: Mapping[str, int]
    findings: tuple[Finding, ...]
    pushes: int
    delivered: int
    worst_recovery_ms: int | None
    slowest: str = ""
    superseded: int = 0
    undecidable: int = 0
    lost_with_the_store: int = 0
    never_taken: int = 0
    wordless: int = 0
    withdrawn: int = 0
    told: int = 0
    told_together: Mapping[str, int] = field(default_factory=dict)
    taken_back: Mapping[str, int] = field(default_factory=dict)
    still_there: Mapping[str, int] = field(default_factory=dict)
    excused: Mapping[str, int] = field(default_factory=dict)
    standstills: Sequence[Standstill] = ()
    outage_ms: int = 0
    no_intake_ms: int = 0
    unexplained: Mapping[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """No promise was broken. How long a lane stood still depends on the machine too, and is asked for apart."""
        return not self.findings

    @property
    def stood_still(self) -> bool:
        return self.standstill_ms > MOST_MS

    @property
    def standstill_ms(self) -> int:
        return max((standstill.ms for standstill in self.standstills), default=0)

    @property
    def pushes_per_alert(self) -> float:
        return self.pushes / self.delivered if self.delivered else 0.0

    def count(self, kind: str) -> int:
        return sum(finding.kind == kind for finding in self.findings)

    def row(self) -> dict[str, str]:
        """The table's row: heading to figure."""
        recovery = "-" if self.worst_recovery_ms is None else f"{self.worst_recovery_ms / 1000:.1f} s"
        return {
            "messages": f"{self.messages}",
            "alerts due": f"{self.due}",
            "duplicates sent": f"{self.duplicates}",
            "faults": ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items())) or "none",
            "lost": f"{self.count('lost')}",
            "shown twice": f"{self.count('shown twice')}",
            "unexcused repeats": f"{self.count('unexcused repeat')}",
            "out of order": f"{self.count('order')}",
            "wrong phone": f"{self.count('wrong phone')}",
            "recalled or read": f"{self.count('recalled text') + self.count('read alert')}",
            "taken back": f"{self.count('taken back')}",
            "wrong badges": f"{self.count('badge')}",
            "counted twice": f"{self.count('counted twice')}",
            "told too early": f"{self.count('too early')}",
            "pushes per alert": f"{self.pushes_per_alert:.2f}",
            "worst recovery": recovery,
            "longest standstill": f"{self.standstill_ms / 1000:.1f} s",
            "longest outage": f"{self.outage_ms / 1000:.1f} s without a push, {self.no_intake_ms / 1000:.1f} s of 503",
        }

    def report(self) -> str:
        """The row as lines, what else is worth knowing, and the first offenders of each kind."""
        lines = [f"{heading:18} {figure}" for heading, figure in self.row().items()]
        beside = {
            "superseded": self.superseded, "undecidable": self.undecidable,
            "lost with the store": self.lost_with_the_store, "never answered 200": self.never_taken,
            "pushes without a word": self.wordless, "not pushed, for read or recalled": self.withdrawn,
            "told together": self.told, **self.told_together,
            **self.taken_back,
            **{f"not judged, for {excuse}": count for excuse, count in sorted(self.still_there.items())},
            **{f"repeats excused by {excuse}": count for excuse, count in sorted(self.excused.items())},
        }  # fmt: skip
        lines += [f"  {heading}: {count}" for heading, count in beside.items() if count]
        lines += [f"  standstill: {standstill}" for standstill in self.standstills[:_SHOWN]]
        shares = ", ".join(f"{provider} {share:.0%}" for provider, share in self.unexplained.items())
        lines += [f"  time in which no fault explains a standstill: {shares}"] if shares else []
        lines += [f"  slowest to recover: {self.slowest}"] if self.slowest else []
        shown = Counter[str]()
        for finding in self.findings:
            shown[finding.kind] += 1
            if shown[finding.kind] <= _SHOWN:
                lines.append(f"  {finding}")
        return "\n".join(lines)
