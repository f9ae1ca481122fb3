"""The auditor: judges a run by what the outside world saw of it, and trusts none of the service's own records.

It reads the run log (runlog.py) and the emulators' journals, nothing else, and shares no code with the service.

    lost              the callback was answered 200, the alert is due, and neither was a push of it accepted nor, where
                      alerts cover each other (MiPush, one conversation), one of a later message; or another message
                      has its identity, so that the phone shows only one of them
    shown twice       a phone holds two items of one message: one word under two collapse ids or jobkeys
    unexcused repeat  a second accepted push of one (message, device) that no fault explains (faults.py)
    order             an earlier message came onto a phone that keeps one item a conversation after a later one
    wrong phone       a push at an address that for MOVED_MS (sights.py) had belonged to none of the message's readers

An alert is due for each device that surely was a reader's before the callback was first posted and stayed his, whose
address no provider called dead, and that was not told apart by the logins that missed the message; never for the
sender. What cannot be decided from outside is counted apart. Runs are far shorter than an alert's life of 24 h, so
none expires. Later means a larger sequence; in the old form, which has none, a later time of sending.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.chaos.arrivals import judge_arrivals
from tests.chaos.evidence import read_evidence
from tests.chaos.pushes import Journal
from tests.chaos.sights import Sights
from tests.chaos.verdict import Verdict


def audit(
    events: Sequence[Mapping[str, Any]],
    journals: Sequence[Journal],
    *,
    push_timeout_s: float = 1.4,
    by_account: Iterable[str] = ("main",),
) -> Verdict:
    """Judge a run. `push_timeout_s` is how long its workers wait for an answer, as in the rig.

    `by_account` names the app sections whose MiPush is told accounts instead of regIds.
    """
    evidence = read_evidence(events, journals, push_timeout_s, by_account)
    arrivals, sights = judge_arrivals(evidence), Sights(evidence)
    return Verdict(
        messages=len(evidence.messages),
        due=arrivals.counted["due"],
        duplicates=sum(it.posts - 1 for it in evidence.callbacks),
        faults=Counter(it.kind for it in evidence.faults),
        findings=(*arrivals.findings, *sights.findings),
        pushes=len(evidence.pushes),
        delivered=sights.delivered,
        worst_recovery_ms=arrivals.worst and arrivals.worst[0],
        slowest=arrivals.worst[1] if arrivals.worst else "",
        superseded=arrivals.counted["superseded"],
        undecidable=arrivals.counted["undecidable"],
        lost_with_the_store=arrivals.counted["lost with the store"],
        never_taken=sum(it.accepted_ms is None for it in evidence.callbacks),
        wordless=evidence.wordless,
        excused=sights.excused,
    )
