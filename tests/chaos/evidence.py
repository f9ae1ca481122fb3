"""All that the auditor goes by, read once."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.faults import Excuses, Fault, Times, dead_addresses, read_faults, spans_of
from tests.chaos.ownership import Ownership, Span
from tests.chaos.pushes import Address, Journal, Push, accepted_pushes
from tests.chaos.sent_messages import Callback, Message, read_callbacks, read_messages


@dataclass(frozen=True)
class Evidence:
    """`readers` are by word all whom any callback named; `at` are the pushes of a word at an address.

    `emptied` are the times in which the store lost everything; `wordless` counts the pushes that show no known word.
    """

    messages: Mapping[str, Message]
    callbacks: Sequence[Callback]
    faults: Sequence[Fault]
    emptied: Sequence[Span]
    ownership: Ownership
    pushes: Sequence[Push]
    wordless: int
    readers: Mapping[str, set[str]]
    at: Mapping[tuple[str, Address], list[Push]]
    excuses: Excuses


def read_evidence(
    events: Sequence[Mapping[str, Any]], journals: Mapping[str, Journal], times: Times, by_account: Iterable[str]
) -> Evidence:
    messages, callbacks, faults = read_messages(events), read_callbacks(events), read_faults(events)
    emptied = spans_of(faults, "empty_store")
    pushes, wordless = accepted_pushes(journals, messages)
    readers: dict[str, set[str]] = defaultdict(set)
    asked_ms: dict[str, list[int]] = defaultdict(list)
    for callback in callbacks:
        readers[callback.word].update(callback.recipients)
        asked_ms[callback.word] += callback.asked_ms
    at: dict[tuple[str, Address], list[Push]] = defaultdict(list)
    for push in pushes:
        at[push.word, push.address].append(push)
    return Evidence(
        messages=messages,
        callbacks=callbacks,
        faults=faults,
        emptied=emptied,
        ownership=Ownership(events, by_account, emptied, dead_addresses(faults)),
        pushes=pushes,
        wordless=wordless,
        readers=readers,
        at=at,
        excuses=Excuses(faults, pushes, asked_ms, times.push_timeout_s),
    )
