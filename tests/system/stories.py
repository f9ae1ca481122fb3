"""What may happen to the service, short: played with the program as it is, and with programs that were broken for it.

Each leaves the rig with all work settled; what came of it is the auditor's to say.
"""

import signal
import time
from collections.abc import Mapping
from typing import Any

from tests.system.audited import AuditedRig
from tests.system.rig import OTHER

# answers take their time, and that is not called silence; tries are further apart than a push may be under way
SLOW: Mapping[str, Any] = {"apns": {"delay_ms": 700}, "relay": {"silence_min_s": 1.2, "heartbeat_s": 0.55}}
LATE: Mapping[str, Any] = {"relay": {"backoff_initial_s": 2.6, "backoff_max_s": 2.6}}
ALERTS: Mapping[str, Any] = {"alerts": {"withdraw": True, "badge": True}}
FOLDS: Mapping[str, Any] = {"alerts": {"fold_s": 2.0, "withdraw": True}}
READERS = [f"reader-{number}" for number in range(20)]


def worker_and_store_are_killed(rig: AuditedRig) -> None:
    """Twenty alerts that had their 200 are in a worker's hands: one may be out, the others wait for its answer."""
    rig.start_web()
    worker = rig.start_worker()
    for account in READERS:
        rig.phone(account)
    rig.fault("apns", effect="delay", delay_ms=1250, times=1)
    rig.send(READERS)
    rig.wait(rig.all_in_hand, "everything in the worker's hands")
    time.sleep(0.2)  # its first push leaves
    rig.kill_worker(worker)
    rig.kill_store()
    rig.start_worker()
    rig.settled(OTHER)


def mimc_says_it_several_times(rig: AuditedRig) -> None:
    """The same callback again, instant callbacks beside it, and other callbacks of the same message."""
    rig.start_web()
    rig.start_worker()
    token = rig.phone("alice")
    for account in ("bob", "carl"):
        rig.phone(account)
    message = rig.write(["alice", "bob"], 1)
    rig.announce(message, ["alice", "bob", "carl", "zoe"], "NORMAL_TOPIC_MSG")
    rig.announce(message)
    rig.settled(OTHER)
    rig.phone("alice", device="after a new installation", token=token)
    rig.announce(message)  # its 200 was not heard
    rig.announce(message, ["bob", "carl"])  # carl went offline before they had read it
    rig.settled(OTHER)


def a_worker_sleeps_and_others_go_on(rig: AuditedRig) -> None:
    """It had twenty pushes out that are not answered; while it is stopped, another worker takes its jobs over.

    When it wakes, all of them are out again: that it would like to try them later is no longer of any account.
    """
    rig.start_web()
    sleeper = rig.start_worker()
    for account in ["early", *READERS]:
        rig.phone(account)
    rig.send(["early"])  # its connection is warm from then on
    rig.settled(OTHER)
    rig.fault("apns", times=len(READERS), effect="answer", reason="ServiceUnavailable", delay_ms=60_000)
    rig.send(READERS, 2)
    rig.wait(lambda: rig.streams_open() == len(READERS), "all pushes on their way")
    with rig.happens("stop_worker", sleeper):
        sleeper.signal(signal.SIGSTOP)
        other = rig.start_worker()
        rig.wait(lambda: rig.holders(OTHER).get(other.popen.pid) == len(READERS), "the take-over")
        rig.wait_for_renewal()  # so that the next is a while off: what the sleeper would do first is seen undisturbed
        sleeper.signal(signal.SIGCONT)
    rig.settled(OTHER)


def a_provider_is_busy_for_a_moment(rig: AuditedRig) -> None:
    """It refuses an alert's first push with a 503, and takes the second."""
    rig.start_web()
    rig.start_worker()
    rig.phone("alice")
    rig.fault("apns", effect="answer", reason="ServiceUnavailable", times=1)
    rig.send(["alice"])
    rig.settled(OTHER)


def a_phone_changes_hands_while_its_alert_waits(rig: AuditedRig) -> None:
    """The provider was busy, the alert waits for its next try, and meanwhile another user signs in on the phone."""
    rig.start_web()
    rig.start_worker()
    token = rig.phone("alice")
    rig.phone("bob")
    rig.fault("apns", effect="answer", reason="ServiceUnavailable", target=token, times=1)
    rig.send(["alice", "bob"])
    rig.wait(lambda: len(rig.journal("apns")) == 2, "the refusal")
    rig.phone("carl", token=token)
    rig.settled(OTHER)
    rig.send(["carl"], 2)
    rig.settled(OTHER)


def a_message_is_recalled(rig: AuditedRig) -> None:
    """Once by one who did not write it, and then by its writer; another message stays."""
    rig.start_web()
    rig.start_worker()
    for account in ("alice", "bob"):
        rig.phone(account)
    recalled, other = rig.send(["alice", "bob"], 1), rig.send(["alice", "bob"], 2)
    rig.settled(OTHER)
    rig.notice("recall", other, "bob")
    rig.notice("recall", recalled, "zoe")
    rig.settled(OTHER)


def a_reader_has_two_phones(rig: AuditedRig) -> None:
    """Each message is announced twice, and the worker is killed in between."""
    rig.start_web()
    worker = rig.start_worker()
    for device in ("phone", "pad"):
        rig.phone("alice", device=device)
    first = rig.send(["alice"], 1)
    rig.settled(OTHER)
    second = rig.send(["alice"], 2)
    rig.kill_worker(worker)
    rig.announce(first, ["alice", "bob"])
    rig.announce(second, ["bob", "alice"])
    rig.start_worker()
    rig.settled(OTHER)


def messages_come_closely(rig: AuditedRig) -> None:
    """The worker has all of them before it at once; the writer of the last takes it back."""
    rig.start_web()
    for account in ("alice", "bob"):
        rig.phone(account)
    *_, last = [rig.send(["alice", "bob"], number) for number in range(1, 5)]
    rig.notice("recall", last, "zoe")
    rig.start_worker()
    rig.settled(OTHER)
