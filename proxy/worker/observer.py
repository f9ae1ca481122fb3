"""What the relay counts and logs: each event of a message's and a job's life, in one place.

Labels are kept once made: finding them anew costs more than the counting. Nothing here may fail the work.
"""

import re
from collections.abc import Sequence
from datetime import datetime

import structlog
from prometheus_client import Counter, Histogram

from proxy import metrics
from proxy.domain.decisions import Decision, PauseLane, Result
from proxy.domain.forwards import Forward
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane
from proxy.domain.offline_messages import OfflineMessage
from proxy.domain.settlements import Bury
from proxy.domain.transfers import Response
from proxy.domain.webhooks import ForwardDecision
from proxy.logs import log_event
from proxy.text import first_characters
from proxy.usecases.monitor_clock import ClockMonitor
from proxy.usecases.monitor_quota import QuotaListener
from proxy.usecases.plan_alerts import PlanResult
from proxy.worker.store_outage import StoreOutage

_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
MOST_TOLD = 100  # impossible accounts of a lane; the others are only counted

log = structlog.get_logger()


class RelayObserver:
    """The events of one app's callbacks, or of one lane (`lane` None: of callbacks).

    `store` takes those of the store. `exemplars`: the latency is counted with the job's id: a digest, of no use without
    the log.
    """

    def __init__(
        self, app_id: str, lane: Lane | None = None, outage: StoreOutage | None = None, *, exemplars: bool = False
    ) -> None:
        self._app_id, self._lane, self._exemplars = app_id, lane, exemplars
        self.store = outage or StoreOutage()
        self._app, self._channel = (lane.app, lane.channel) if lane else ("", "")
        self._planned: dict[Lane, Counter] = {}
        self._messages: dict[PlanResult, Counter] = {}
        self._settled: dict[tuple[Result, str], Counter] = {}
        self._told_impossible: set[str] = set()
        self._push_seconds: Histogram = metrics.push_seconds.labels(self._channel)

    # callbacks

    def planned(self, message: OfflineMessage, result: PlanResult, jobs: int) -> None:
        """A message was planned, or left out: `result` says why there was no job."""
        if result not in self._messages:
            self._messages[result] = metrics.messages_planned_total.labels(result)
        self._messages[result].inc()
        log_event("callback planned", message_id=message.message_id, jobs=jobs, result=result)

    def job_planned(self, lane: Lane) -> None:
        if lane not in self._planned:
            self._planned[lane] = metrics.planned_total.labels(lane.app, lane.channel)
        self._planned[lane].inc()

    # lanes

    def settled(self, job: Job, decision: Decision, now: datetime) -> None:
        """What became of a job is decided."""
        key = (decision.result, decision.reason)
        counter = self._settled.get(key)
        if counter is None:
            reason = metrics.bounded_reason(decision.reason)
            counter = metrics.settled_total.labels(self._app, self._channel, decision.result, reason)
            if reason == decision.reason:  # the closed part of them
                self._settled[key] = counter
        counter.inc()
        is_late_by_design = job.alert.update is not None or job.alert.is_fold
        if decision.result is Result.ACCEPTED and not is_late_by_design:
            seconds = max(0.0, now.timestamp() - job.alert.order.accepted_at_ms / 1000)
            metrics.alert_seconds.observe(seconds, {"job_id": job.id} if self._exemplars else None)
        if decision.result is Result.IMPOSSIBLE:
            self._tell_impossible(job.account, decision.reason)
        log_event(
            "push settled", app=self._app, channel=self._channel, result=decision.result, reason=decision.reason,
            job_id=job.id, message_id=job.alert.message_id, attempt=job.attempt,
        )  # fmt: skip

    def forwarded(self, forward: Forward, decision: ForwardDecision) -> None:
        """What becomes of a callback for a webhook is decided."""
        reason = metrics.bounded_reason(decision.reason)
        metrics.settled_total.labels(self._app, self._channel, decision.result, reason).inc()
        log_event(
            "webhook settled", app=self._app, channel=self._channel, result=decision.result, reason=decision.reason,
            webhook_id=forward.id, kind=forward.kind, attempt=forward.attempt,
        )  # fmt: skip

    def _tell_impossible(self, account: str, reason: str) -> None:
        """Once for an account, while few are known: one callback may name thousands."""
        if account not in self._told_impossible and len(self._told_impossible) < MOST_TOLD:
            self._told_impossible.add(account)
            shown = first_characters(account, 80)
            log.warning(
                "the account can be no address of the channel: it gets no alerts there",
                app=self._app, channel=self._channel, account=shown, reason=reason,
            )  # fmt: skip

    def answered(self, seconds: float) -> None:
        """A provider answered so long after the request was handed over."""
        self._push_seconds.observe(seconds)

    def repeated(self, reason: str, jobs: int) -> None:
        """A request failed for the first time and goes once more at once."""
        metrics.repeated_total.labels(self._app, self._channel).inc()
        log.warning("push failed, repeated at once", app=self._app, channel=self._channel, reason=reason, jobs=jobs)

    def lane_paused(self, pause: PauseLane) -> None:
        """An answer paused the lane, which no worker had known."""
        metrics.lane_pauses_total.labels(self._app, self._channel, pause.kind).inc()
        log.error("lane paused", app=self._app, channel=self._channel, kind=str(pause.kind), reason=pause.reason)

    def lane_resumed(self) -> None:
        log.info("lane resumed", app=self._app, channel=self._channel)

    # both

    def buried(self, settlement: Bury) -> None:
        metrics.dead_letters_total.labels(self._app_id, self._app, self._channel, settlement.cause).inc()

    def unnoted(self, errors: Sequence[str]) -> None:
        """The history took no note of something that was done all the same."""
        if errors:
            metrics.history_lost_total.inc(len(errors))

    def taken_over(self, source: str, count: int) -> None:
        metrics.taken_over_total.inc(count)
        log.warning("entries taken over", source=source, count=count)

    def leases_lost(self, source: str, count: int) -> None:
        metrics.lost_total.inc(count)
        log.warning("leases lost", source=source, count=count)


def hear_clock(clock: ClockMonitor, lane: Lane, response: Response) -> None:
    """An answer carries the provider's time."""
    clock.heard(lane.channel, response)


def hear_apns(clock: ClockMonitor, lane: Lane, response: Response) -> None:
    """The same; a push that APNs accepted shows that the time in our provider token is right."""
    hear_clock(clock, lane, response)
    if response.status == 200:
        clock.token_accepted()


def hear_quota(clock: ClockMonitor, lane: Lane, quota: QuotaListener, response: Response) -> None:
    """The provider's time, and how much of the day's allowance is spent."""
    hear_clock(clock, lane, response)
    quota.heard(response)


def hear_sandbox(clock: ClockMonitor, lane: Lane, response: Response) -> None:
    """The same, and the name under which Apple's delivery log has the push: the sandbox alone says it."""
    hear_apns(clock, lane, response)
    named, job_id = (response.headers.get(name, "") for name in ("apns-unique-id", "apns-id"))
    if _UUID.fullmatch(named):
        log.info("push named by apns", apns_unique_id=named, job_id=job_id if _UUID.fullmatch(job_id) else "")
