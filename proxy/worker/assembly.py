"""A worker put together from its services."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog
from prometheus_client import start_http_server

from proxy.channels import APNS
from proxy.domain.breaker import Breaker
from proxy.domain.lanes import Lane
from proxy.domain.steps import exponential_backoff
from proxy.domain.transfers import Request, Response, TransportFailure
from proxy.metrics import alert_seconds, bounded_reason, planned_total, push_seconds, settled_total
from proxy.ports import Transport
from proxy.settings import Settings
from proxy.usecases.deliver import Channel, Delivery, Settled
from proxy.usecases.monitor_clock import ClockMonitor
from proxy.usecases.plan_alerts import Planner
from proxy.wiring import RelayServices, relay_services
from proxy.worker import Worker
from proxy.worker.callbacks import CallbackWorker
from proxy.worker.holdings import Holdings
from proxy.worker.lane import LaneWorker
from proxy.worker.stalls import Stalls
from proxy.worker.watch import StoreGuard

log = structlog.get_logger()
_BLOCK = timedelta(seconds=1)


async def run_worker(settings: Settings) -> None:
    """Work until SIGTERM; the metrics are there once it has begun."""
    services = relay_services(settings)

    def ready() -> None:
        log.info("worker started", instance=services.instance)
        serve_metrics(settings.relay.operator_bind)

    await build_worker(services).run(ready)


def serve_metrics(bind: str) -> None:
    """Answer GET /metrics there, from a thread; "" serves none. A taken port stops no delivery, it is logged."""
    if not bind:
        return
    host, _, port = bind.rpartition(":")
    try:
        start_http_server(int(port), addr=host.strip("[]"))
    except OSError as error:
        log.error("no metrics: the port is taken or not ours", bind=bind, error=type(error).__name__)


def build_worker(services: RelayServices) -> Worker:
    """One worker instance: an intake per appId, a lane worker per lane."""
    relay = services.settings.relay
    holdings, stalls = Holdings(relay.lease.total_seconds()), Stalls()
    app_ids = sorted({app.app_id for app in services.settings.apps.values()})
    # an entry that arrives at the end of a blocking read is as old as the read: keep that well under the lease
    block = min(_BLOCK, relay.lease / 8)
    return Worker(
        callbacks=[_callback_worker(app_id, services, holdings, block) for app_id in app_ids],
        lanes=[_lane_worker(channel, services, holdings, stalls, block) for channel in services.channels],
        queue=services.queue,
        lane_states=services.lane_states,
        holdings=holdings,
        now=services.now,
        heartbeat_s=relay.heartbeat.total_seconds(),
        lease=relay.lease,
        drain_s=relay.drain.total_seconds(),
        stalls=stalls,
        close=services.close,
        watch=StoreGuard(services.redis, services.identity, services.clock),
    )


def _callback_worker(app_id: str, services: RelayServices, holdings: Holdings, block: timedelta) -> CallbackWorker:
    planner = Planner(
        routes=[it.route for it in services.channels if it.route.lane.app_id == app_id],
        addresses=services.addresses,
        queue=services.queue,
        alert_ttl=services.settings.relay.alert_ttl,
        on_planned=lambda lane: planned_total.labels(lane.app, lane.channel).inc(),
    )
    return CallbackWorker(app_id, planner, services.queue, holdings, now=services.now, block=block)


def _lane_worker(
    channel: Channel, services: RelayServices, holdings: Holdings, stalls: Stalls, block: timedelta
) -> LaneWorker:
    relay = services.settings.relay
    lane = channel.route.lane
    breaker = Breaker(relay.breaker_failures)
    # longer than a push may take, its wait for a connection and its one repeat included
    longest_push = relay.lease + 2 * relay.push_timeout
    worker = LaneWorker(
        lane,
        services.queue,
        services.lane_states,
        holdings,
        in_flight=relay.in_flight,
        block=block,
        probe_lease=longest_push,
        breaker=breaker,
    )

    def report(settled: Settled) -> None:
        worker.noted(settled)
        _record(lane, settled, services)

    worker.delivery = Delivery(
        channel=replace(channel, transport=Timed(channel.transport, lane.channel, services.clock)),
        addresses=services.addresses,
        lanes=services.lane_states,
        backoff=exponential_backoff(
            random.random,
            first=relay.backoff_initial,
            most=relay.backoff_max,
        ),
        now=services.now,
        settle=worker.settle,
        report=report,
        line_life=longest_push,  # two pushes of a line that are out at once could arrive in the wrong order
        # what a line shows is known as long as an earlier alert may come late
        dedupe_ttl=max(relay.dedupe_ttl, relay.alert_ttl),
        unknown_account_ttl=relay.unknown_account_ttl,
        probe_every=relay.probe,
        first_probe=relay.backoff_initial,
        breaker=breaker,
        is_awake=lambda: not stalls.lately(),
    )
    return worker


@dataclass(frozen=True)
class Timed:
    """A transport whose answers are timed, and tell the time; what was not sent does neither."""

    transport: Transport
    channel: str
    clock: ClockMonitor

    async def send(self, request: Request, may_send: Callable[[], bool]) -> Response | TransportFailure:
        began = time.perf_counter()
        answer = await self.transport.send(request, may_send)
        if isinstance(answer, Response):
            self.clock.heard(self.channel, answer)
            if answer.status == 200 and self.channel == APNS:
                self.clock.token_accepted()
        if isinstance(answer, Response) or answer.sent:
            push_seconds.labels(self.channel).observe(time.perf_counter() - began)
        return answer


def _record(lane: Lane, settled: Settled, services: RelayServices) -> None:
    job, reason = settled.job, bounded_reason(settled.reason)
    settled_total.labels(lane.app, lane.channel, settled.result, reason).inc()
    if settled.result == "accepted":
        alert_seconds.observe(max(0.0, services.now().timestamp() - job.alert.order.accepted_at_ms / 1000))
    log.info(
        "push settled", app=lane.app, channel=lane.channel, result=settled.result, reason=settled.reason,
        job_id=job.id, message_id=job.alert.message_id, attempt=job.attempt,
    )  # fmt: skip
