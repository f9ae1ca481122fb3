"""One message becomes jobs: one alert for each device of each person whom it did not reach."""

import asyncio
import time
import unicodedata
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxy.domain.alerts import Alert
from proxy.domain.callbacks import Recipient
from proxy.domain.devices import Device
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane, Route
from proxy.domain.messages import alert_text
from proxy.domain.offline_messages import OfflineMessage
from proxy.ports import AddressBook, JobQueue

RECIPIENTS_PER_LOOKUP = 50
JOBS_PER_CHUNK = 50  # the store stands still for half a millisecond a chunk; 1,000 at once would be 6 to 10
_CROWD = 1_000

Planned = Callable[[Lane], None]


@dataclass(frozen=True)
class Planner:
    """Plans an app's messages. `on_planned` hears of every job that was appended."""

    routes: Sequence[Route]
    addresses: AddressBook
    queue: JobQueue
    alert_ttl: timedelta
    on_planned: Planned
    full_lane_wait_s: float = 1.0

    async def plan(self, entry_id: bytes, message: OfflineMessage, now: datetime) -> int:
        """Append what is missing, then remove the callback; returns how many jobs were new.

        Repeating it, after a crash or beside another worker, adds only what is missing.
        """
        planned, chunk = 0, list[tuple[Lane, Job]]()
        async for jobs in self._jobs(message, now):
            chunk += jobs
            while len(chunk) > JOBS_PER_CHUNK:
                began = time.perf_counter()
                planned += await self._append(message, entry_id, chunk[:JOBS_PER_CHUNK], last=False)
                del chunk[:JOBS_PER_CHUNK]
                if len(message.recipients) > _CROWD:  # it can wait; intake and other people's messages cannot
                    await asyncio.sleep(2 * (time.perf_counter() - began))
        return planned + await self._append(message, entry_id, chunk, last=True)

    async def _jobs(self, message: OfflineMessage, now: datetime) -> AsyncIterator[list[tuple[Lane, Job]]]:
        text = alert_text(message.payload, message.biz_type, message.sender)
        readers = [reader for reader in message.recipients if reader.account != message.sender]
        if text is None or not readers:
            return
        alert = message.alert(text, self.alert_ttl)
        if alert.expires_at <= now:
            return
        for start in range(0, len(readers), RECIPIENTS_PER_LOOKUP):
            asked = readers[start : start + RECIPIENTS_PER_LOOKUP]
            blocked = await self.addresses.blocked([reader.account for reader in asked])
            some = [reader for reader in asked if reader.account not in blocked]
            accounts = [unicodedata.normalize("NFC", reader.account) for reader in some]  # as devices are registered
            found: dict[str, list[list[Device]]] = {}  # by section: its channels share one look-up
            for route in self.routes:
                app = route.lane.app
                if route.to_account:
                    yield _jobs_to_accounts(route, some, alert)
                    continue
                if app not in found:
                    found[app] = await self.addresses.devices_of(app, accounts)
                yield _jobs_to_devices(route, some, found[app], alert)

    async def _append(
        self, message: OfflineMessage, entry_id: bytes, jobs: Sequence[tuple[Lane, Job]], *, last: bool
    ) -> int:
        while (
            new := await self.queue.append_jobs(message.app_id, message.message_id, entry_id, jobs, last=last)
        ) is None:
            await asyncio.sleep(self.full_lane_wait_s)  # a lane is full: nothing is trimmed, the callback waits
        for (lane, _), is_new in zip(jobs, new, strict=True):
            if is_new:
                self.on_planned(lane)
        return sum(new)


def _jobs_to_accounts(route: Route, readers: Sequence[Recipient], alert: Alert) -> list[tuple[Lane, Job]]:
    lane = route.lane
    return [(lane, Job(lane.app, lane.channel, reader.account, "", alert)) for reader in readers]


def _jobs_to_devices(
    route: Route, readers: Sequence[Recipient], found: Sequence[Sequence[Device]], alert: Alert
) -> list[tuple[Lane, Job]]:
    lane = route.lane
    return [
        (lane, Job(lane.app, lane.channel, device.account, device.device_id, alert))
        for reader, devices in zip(readers, found, strict=True)
        for device in devices
        if device.platform == lane.channel and missed_it(device, reader)
    ]


def missed_it(device: Device, reader: Recipient) -> bool:
    """MIMC may name the logins that missed a message; a device that named its own is alerted only if it is one."""
    return not reader.resources or not device.resource or device.resource in reader.resources
