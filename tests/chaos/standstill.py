"""How long lanes were still although alerts waited for them, and no fault of the run explains it.

A lane is an app section and a provider: APNs' production, its sandbox and Mi Push are three. It is still from one
accepted push to the next, or from when an alert that waits had its 200. A fault explains

    kill_worker, stop_worker, slow_worker   every lane's stillness until lease + GRACE_MS after its end
    provider_*                              its own provider's, until the probe that is then due: probe_s after its end
    the store, and the web and its spool    every lane's, until GRACE_MS after its end

and nothing else. Only alerts that came are looked at: one that never does is lost, which is a finding of its own.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tests.chaos.faults import HARMLESS, STORE, WEB, WORKER, Fault, Times
from tests.chaos.ownership import Span
from tests.chaos.pushes import PROVIDERS, Push

GRACE_MS = 2_000
MOST_MS = 5_000

Lane = tuple[str, str]  # app section, provider


class Wait(NamedTuple):
    """An alert that was accepted, and the push that brought it first."""

    lane: Lane
    accepted_ms: int
    came_ms: int


class Post(NamedTuple):
    """Of a callback, and whether it was answered 200."""

    asked_ms: int
    ms: int
    taken: bool


class Standstill(NamedTuple):
    """The longest part of a lane's stillness that no fault explains."""

    lane: Lane
    begin_ms: int
    end_ms: int

    @property
    def ms(self) -> int:
        return self.end_ms - self.begin_ms

    def __str__(self) -> str:
        return f"{self.ms / 1000:.1f} s of {'/'.join(self.lane)}, from {self.begin_ms} to {self.end_ms}"


def standstills(
    waits: Iterable[Wait], pushes: Iterable[tuple[Lane, Push]], faults: Sequence[Fault], times: Times
) -> list[Standstill]:
    """The longest of each lane, longest first; lanes that were never still without a reason are left out."""
    explained = {provider: explained_spans(faults, provider, times) for provider in PROVIDERS}
    waits_of: dict[Lane, list[Wait]] = defaultdict(list)
    for wait in waits:
        waits_of[wait.lane].append(wait)
    pushed_ms: dict[Lane, set[int]] = defaultdict(set)
    for lane, push in pushes:
        pushed_ms[lane].add(push.came_ms)
    found = []
    for lane, of_lane in waits_of.items():
        still = (
            Standstill(lane, *part)
            for span in _still(of_lane, sorted(pushed_ms[lane]))
            for part in _left_of(span, explained[lane[1]])
        )
        longest = max(still, key=lambda standstill: standstill.ms, default=None)
        found += [longest] if longest else []
    return sorted(found, key=lambda standstill: -standstill.ms)


def longest_outage_ms(waits: Sequence[Wait], pushes: Iterable[Push], faults: Iterable[Fault]) -> int:
    """The longest time that all lanes were still, though alerts waited, in which some fault of the store lay."""
    return _longest(_still(waits, sorted({push.came_ms for push in pushes})), faults)


def longest_refusal_ms(posts: Iterable[Post], faults: Sequence[Fault]) -> int:
    """The longest time in which posts were answered and none with 200, around a fault of the store but none of the web.

    From when the first of them was posted to the answer of the last.
    """
    refused = list[Span]()
    begin: int | None = None
    for post in sorted(posts, key=lambda post: post.ms):
        if post.taken:
            begin = None
        else:
            begin = post.asked_ms if begin is None else begin
            refused.append((begin, post.ms))
    of_web = [fault for fault in faults if fault.kind in WEB]
    return _longest([span for span in refused if not any(_meets(it, span) for it in of_web)], faults)


def _longest(spans: Iterable[Span], faults: Iterable[Fault]) -> int:
    of_store = [fault for fault in faults if fault.kind in STORE | HARMLESS]
    return max((span[1] - span[0] for span in spans if any(_meets(it, span) for it in of_store)), default=0)


def _meets(fault: Fault, span: Span) -> bool:
    return fault.begin_ms < span[1] and span[0] < fault.end_ms


def explained_spans(faults: Iterable[Fault], provider: str, times: Times) -> list[Span]:
    """When stillness of that provider's lanes has a reason: in order, no two of them touch."""
    spans = sorted(
        (fault.begin_ms, fault.end_ms + after) for fault in faults
        if (after := _explains_for(fault, provider, times)) is not None
    )  # fmt: skip
    joined: list[Span] = []
    for begin, end in spans:
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((begin, end))
    return joined


def shares_unexplained(faults: Sequence[Fault], times: Times, begin_ms: int, end_ms: int) -> Mapping[str, float]:
    """By provider: how much of that time no fault explains, in which a standstill would show."""
    span = begin_ms, max(end_ms, begin_ms + 1)
    return {
        provider: sum(end - begin for begin, end in _left_of(span, explained_spans(faults, provider, times)))
        / (span[1] - span[0])
        for provider in PROVIDERS
    }


def _explains_for(fault: Fault, provider: str, times: Times) -> int | None:
    """How long after its end the fault explains that this provider's lanes are still; None: not at all."""
    if fault.kind in WORKER:
        return round(times.lease_s * 1000) + GRACE_MS
    if fault.kind in STORE | WEB | HARMLESS:
        return GRACE_MS
    if fault.kind.startswith("provider_") and fault.kind != "provider_410" and fault.target == provider:
        return round(times.probe_s * 1000)
    return None


def _still(waits: Sequence[Wait], pushed_ms: Sequence[int]) -> Iterator[Span]:
    """The times between two pushes, as far as an alert waited."""
    by_coming = sorted(waits, key=lambda wait: wait.came_ms)
    coming = [wait.came_ms for wait in by_coming]
    waits_since: list[int] = []  # by place: the earliest acceptance of all that came there or later
    for wait in reversed(by_coming):
        waits_since.append(min(wait.accepted_ms, waits_since[-1] if waits_since else wait.accepted_ms))
    waits_since.reverse()
    before = 0
    for at in pushed_ms:
        place = bisect_left(coming, at)
        if place < len(coming) and (since := max(before, waits_since[place])) < at:
            yield since, at
        before = at


def _left_of(span: Span, explained: Sequence[Span]) -> Iterator[Span]:
    """The parts of the span that are in none of the others."""
    at, end = span
    for begin, until in explained:
        if begin >= end:
            break
        if begin > at:
            yield at, begin
        at = max(at, until)
    if at < end:
        yield at, end
