"""The auditor: judges a run by what the outside world saw of it, and trusts none of the service's own records.

It reads the run log (runlog.py) and the emulators' journals, nothing else, and shares no code with the service.

    lost              the callback was answered 200, the alert is due, and neither was a push of it accepted nor, where
                      alerts cover each other (MiPush, one conversation), one of a later message; or another message
                      has its identity, so that the phone shows only one of them
    shown twice       a phone holds two items of one message: one word under two collapse ids or jobkeys
    unexcused repeat  a second accepted push of one (message, device) that no fault explains (faults.py)
    order             an earlier message came onto a phone that keeps one item a conversation after a later one
    recalled text     a phone shows in the end what its writer took back (taken_back.py)
    read alert        a phone shows in the end what its owner has read elsewhere
    taken back        a withdrawal of what nobody has read or taken back
    badge             a phone's number is not that of its account's unread messages
    counted twice     folds tell of more messages than there were (told_together.py)
    too early         what should have been told together was not
    wrong phone       a push at an address that for MOVED_MS (observed_alerts.py) had belonged to none of the message's
                      readers

It also measures how long lanes were still while alerts waited, where no fault explains it (standstill.py).

An alert is due for each device that surely was a reader's before the callback was first posted and stayed theirs, whose
address no provider called dead, and that was not excluded by the logins that missed the message; never for the
sender. What cannot be decided from outside is counted apart. Runs are far shorter than an alert's life of 24 h, so
none expires. Later means a larger sequence; in the old form, which has none, a later time of sending.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.chaos.arrivals import alerts_due, judge_arrivals
from tests.chaos.evidence import Evidence, read_evidence
from tests.chaos.faults import Times
from tests.chaos.observed_alerts import ObservedAlerts
from tests.chaos.phones import read_phones
from tests.chaos.pushes import Journal
from tests.chaos.read_and_recalled import Notices
from tests.chaos.standstill import Post, longest_outage_ms, longest_refusal_ms, shares_unexplained, standstills
from tests.chaos.taken_back import TakenBackJudge
from tests.chaos.told_together import ToldTogetherJudge
from tests.chaos.verdict import Verdict


def audit(
    events: Sequence[Mapping[str, Any]],
    journals: Mapping[str, Journal],
    times: Times,
    *,
    phones: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
    by_account: Iterable[str] = ("main",),
) -> Verdict:
    """Judge a run by its log and the providers' journals; `times` are those of its settings.

    `phones` is by emulator what its phones show once all is settled, None where that was not looked at.
    `by_account` names the app sections whose MiPush is given accounts instead of regIds.
    """
    evidence = read_evidence(events, journals, times, by_account)
    due, notices = alerts_due(evidence), Notices(evidence)
    together = ToldTogetherJudge(evidence, notices, due, times)
    arrivals, observed = judge_arrivals(evidence, due, notices, together.may_tell), ObservedAlerts(evidence)
    counted = together.judge()
    shown = None if phones is None else read_phones(phones, evidence.messages)
    gone = TakenBackJudge(evidence, notices, due, shown).judge()
    lanes = [((evidence.messages[push.word].app, push.provider), push) for push in evidence.pushes]
    lanes += [((evidence.ownership.app_of(it.address), it.push.provider), it.push) for it in evidence.told]
    return Verdict(
        messages=len(evidence.messages),
        due=arrivals.counted["due"],
        duplicates=sum(callback.posts - 1 for callback in evidence.callbacks),
        faults=Counter(fault.kind for fault in evidence.faults),
        findings=(*arrivals.findings, *observed.findings, *gone.findings, *counted.findings),
        pushes=len(evidence.pushes),
        delivered=observed.delivered,
        worst_recovery_ms=arrivals.worst and arrivals.worst[0],
        slowest=arrivals.worst[1] if arrivals.worst else "",
        superseded=arrivals.counted["superseded"],
        undecidable=arrivals.counted["undecidable"],
        lost_with_the_store=arrivals.counted["lost with the store"],
        never_taken=sum(callback.accepted_ms is None for callback in evidence.callbacks),
        wordless=evidence.accepted.wordless,
        told=arrivals.counted["told together"],
        told_together=counted.counted,
        withdrawn=arrivals.counted["withdrawn"],
        taken_back=gone.counted,
        still_there=gone.excused,
        excused=observed.excused,
        standstills=standstills(arrivals.waits, lanes, evidence.faults, times),
        outage_ms=longest_outage_ms(arrivals.waits, (push for _, push in lanes), evidence.faults),
        no_intake_ms=longest_refusal_ms(
            (Post(it["asked_ms"], it["ms"], it["status"] == 200) for it in events if it["event"] == "posted"),
            evidence.faults,
        ),
        unexplained=_unexplained(evidence, times),
    )


def _unexplained(evidence: Evidence, times: Times) -> Mapping[str, float]:
    """Of the time from the first post to the last push."""
    asked_ms = [callback.first_asked_ms for callback in evidence.callbacks]
    if not asked_ms or not evidence.pushes:
        return {}
    return shares_unexplained(evidence.faults, times, min(asked_ms), max(push.ms for push in evidence.pushes))
