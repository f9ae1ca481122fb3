"""A coverage-guided fuzzer: an input that takes a step which none took before is kept, and others are made from it.

Our own, of the standard library alone: atheris has wheels for Linux on x86_64 only, python-afl and pythonfuzz are of
2020 and before, and hypothesis' own search knows the strategies' choices, not the lines that they reach.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from types import FrameType

from tests.fuzz.edges import Edge, Edges
from tests.fuzz.mutate import mutated

SLOW_S = 5.0  # of this process' own time, and watched: ten times less without
_MOST_FINDINGS = 20


class TooSlow(BaseException):
    """One input took longer than any may; no `except Exception` keeps it from us."""


@dataclass(frozen=True)
class Target:
    """`run` takes any bytes and raises nothing; whatever it raises is a fault found. `words` help to make inputs."""

    name: str
    run: Callable[[bytes], object]
    seeds: Sequence[bytes]
    words: Sequence[bytes] = ()


@dataclass(frozen=True)
class Finding:
    """An input and what it raised. `place` distinguishes one fault from another."""

    content: bytes
    error: BaseException

    @property
    def place(self) -> tuple[str, str, int]:
        step = self.error.__traceback__
        while step and step.tb_next:
            step = step.tb_next
        return (
            type(self.error).__name__,
            step.tb_frame.f_code.co_filename if step else "",
            step.tb_lineno if step else 0,
        )


@dataclass
class Fuzzer:
    """`kept` holds each input that was the first to take some edge, `findings` one input for each fault."""

    target: Target
    dice: Random
    known: set[Edge] = field(default_factory=set)
    kept: list[bytes] = field(default_factory=list)
    findings: dict[tuple[str, str, int], Finding] = field(default_factory=dict)
    runs: int = 0
    slow_s: float = SLOW_S

    def replay(self, inputs: Iterable[bytes]) -> None:
        """Run these, the smallest first."""
        edges = Edges()
        with _patience(self.slow_s), edges.watched():
            for content in sorted(set(inputs), key=lambda content: (len(content), content)):
                self._attempt(content, edges)

    def search(self, seconds: float, runs: int = sys.maxsize) -> None:
        """Try new inputs for so long, and no more than so many."""
        until, last = time.monotonic() + seconds, self.runs + runs
        edges = Edges()
        with _patience(self.slow_s), edges.watched():
            while time.monotonic() < until and self.runs < last and len(self.findings) < _MOST_FINDINGS:
                other = self.dice.choice(self.kept)
                self._attempt(mutated(self._choice(), other, self.target.words, self.dice), edges)

    def _attempt(self, content: bytes, edges: Edges) -> None:
        self.runs += 1
        edges.taken()
        signal.setitimer(signal.ITIMER_PROF, self.slow_s)
        try:
            self.target.run(content)
        except (Exception, TooSlow) as error:  # noqa: BLE001  whatever it is, it is what we look for
            finding = Finding(content, error)
            self.findings.setdefault(finding.place, finding)
            return
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        new = edges.taken() - self.known
        if new:
            self.known |= new
            self.kept.append(content)

    def _choice(self) -> bytes:
        """Late ones more often: what they reached is less well known."""
        return self.kept[int(len(self.kept) * max(self.dice.random(), self.dice.random()))]


@contextmanager
def _patience(slow_s: float) -> Iterator[None]:
    """Inside, the timer of an input that takes this process too long raises TooSlow. For a main thread only."""

    def too_slow(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"more than {slow_s:g} s")

    before = signal.signal(signal.SIGPROF, too_slow)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
