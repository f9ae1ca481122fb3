"""All that the auditor goes by, read once."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.faults import FAILOVER, STORE_BEFORE_MS, Excuses, Fault, Times, dead_addresses, read_faults, spans_of
from tests.chaos.ownership import Ownership, Span
from tests.chaos.pushes import Accepted, Address, Journal, Push, TakenBack, Told, read_accepted
from tests.chaos.sent_messages import Callback, Message, Notice, read_callbacks, read_messages, read_notices


@dataclass(frozen=True)
class Evidence:
    """`readers` are by word all whom any callback named; `at` are the pushes of a word at an address.

    `emptied` are the times in which the store lost everything, `failovers` those of which it may have lost what only
    its old master had.
    """

    messages: Mapping[str, Message]
    callbacks: Sequence[Callback]
    notices: Sequence[Notice]
    faults: Sequence[Fault]
    emptied: Sequence[Span]
    failovers: Sequence[Span]
    ownership: Ownership
    accepted: Accepted
    readers: Mapping[str, set[str]]
    at: Mapping[tuple[str, Address], list[Push]]
    excuses: Excuses

    @property
    def pushes(self) -> Sequence[Push]:
        return self.accepted.pushes

    @property
    def told(self) -> Sequence[Told]:
        return self.accepted.told

    @property
    def taken_back(self) -> Sequence[TakenBack]:
        return self.accepted.taken_back


def read_evidence(
    events: Sequence[Mapping[str, Any]], journals: Mapping[str, Journal], times: Times, by_account: Iterable[str]
) -> Evidence:
    messages, callbacks, faults = read_messages(events), read_callbacks(events), read_faults(events)
    emptied = spans_of(faults, "empty_store")
    failovers = [(begin - STORE_BEFORE_MS, end) for begin, end in spans_of(faults, FAILOVER)]
    accepted = read_accepted(journals, messages)
    readers: dict[str, set[str]] = defaultdict(set)
    asked_ms: dict[str, list[int]] = defaultdict(list)
    for callback in callbacks:
        readers[callback.word].update(callback.recipients)
        asked_ms[callback.word] += callback.asked_ms
    at: dict[tuple[str, Address], list[Push]] = defaultdict(list)
    for push in accepted.pushes:
        at[push.word, push.address].append(push)
    return Evidence(
        messages=messages,
        callbacks=callbacks,
        notices=read_notices(events),
        faults=faults,
        emptied=emptied,
        failovers=failovers,
        ownership=Ownership(events, by_account, emptied, dead_addresses(faults), failovers),
        accepted=accepted,
        readers=readers,
        at=at,
        excuses=Excuses(faults, [*accepted.pushes, *(it.push for it in accepted.told)], asked_ms, times.push_timeout_s),
    )
