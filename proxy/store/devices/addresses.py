"""Registrations as the worker needs them: read in batches, removed in one step."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from proxy.domain.alerts import Update
from proxy.domain.callbacks import account_digest
from proxy.domain.devices import BADGED, AccountsRead, Destination, Device, LaneRead, RemovalResult
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane
from proxy.domain.times import MS
from proxy.store import keys
from proxy.store.devices.registrations import record_in, registration_parts
from proxy.store.devices.removal import DeviceRemoval
from proxy.store.keys import Layout
from proxy.store.queue import folds
from proxy.store.queue.withdrawals import is_withdrawn
from proxy.store.records import device_or_none, preferences_or_strictest
from proxy.store.scripts import Argument, Command, ask_strictly, script
from proxy.store.users.blocks import account_mark
from proxy.store.users.unread import asking, number


class RedisAddresses:
    """Reads are pipelines, one round trip for any number of accounts."""

    def __init__(
        self,
        redis: Any,
        app_ids: Mapping[str, str],
        instance: str,
        removal: DeviceRemoval | None = None,
        *,
        with_presence: bool = False,
        with_withdrawals: bool = False,
        with_badges: bool = False,
        channels: Mapping[str, Container[str]] | None = None,
    ) -> None:
        """`with_presence`: accounts are also asked whether they are present; `with_withdrawals`: alerts, whether they
        were taken back; `with_badges`: accounts, how many messages they have not read. `channels`: those that are on
        in each section, None: all; a device is seen at the first of its addresses that one of them reaches."""
        self._with_presence, self._with_withdrawals, self._with_badges = with_presence, with_withdrawals, with_badges
        self._redis = redis
        self._app_ids = app_ids
        self._channels = channels
        self._instance = instance
        self._removal = removal or DeviceRemoval(redis, app_ids)

    async def read_accounts(
        self, app_id: str, apps: Sequence[str], names: Sequence[str], besides: Sequence[Command] = ()
    ) -> AccountsRead:
        """The devices of these accounts in each of the sections `apps`, by the account's own list; which of them are
        blocked; what they have set: one round trip. `names` not empty, each once; `apps` are sections of `app_id`.
        `besides` is asked first in it.

        Ownership is checked when delivering. A record of a later version, or damaged, is no device.
        """
        layout = self._redis.layout
        commands: list[Command] = [("HGETALL", layout.account(app_id, app, name)) for app in apps for name in names]
        preferences = self._values([layout.preferences(app_id, name) for name in names])
        commands += preferences
        commands.append(("SMISMEMBER", keys.blocked_accounts(), *map(account_mark, names)))
        if self._with_presence:
            commands += [("GET", layout.present(app_id, name)) for name in names]
        answers = await ask_strictly(self._redis, [*besides, *commands] if besides else commands)
        said, answers = (answers[: len(besides)], answers[len(besides) :]) if besides else ((), answers)
        rest = iter(answers)
        registrations = list(islice(rest, len(apps) * len(names)))
        records, blocked = _flat(islice(rest, len(preferences))), next(rest)
        present = list(rest)
        accounts = [(app, name) for app in apps for name in names]
        devices = [self._devices(app, fields) for (app, _), fields in zip(accounts, registrations, strict=True)]
        return AccountsRead(
            dict(zip(accounts, devices, strict=True)),
            frozenset(name for name, is_blocked in zip(names, blocked, strict=True) if is_blocked),
            {name: preferences_or_strictest(record) for name, record in zip(names, records, strict=True) if record},
            frozenset(name for name, mark in zip(names, present, strict=False) if mark),
            said,
        )

    def _values(self, names: Sequence[str]) -> list[Command]:
        """Of these keys; in a Cluster one command can name those of one slot only."""
        return [("MGET", name) for name in names] if self._redis.is_cluster else [("MGET", *names)]

    async def destinations(self, lane: Lane, jobs: Sequence[Job]) -> LaneRead:
        """Where these jobs of a lane go now, and whether the lane is paused: one round trip.

        A second one where a registration names another push token than its job does. What the accounts show is read
        too, for a job may have waited; one that the plan hands over has not, and is spared this (`question`).
        """
        if not jobs:
            return LaneRead([], False)
        layout = self._redis.layout
        asked_first = self._values([layout.preferences(lane.app_id, job.account) for job in jobs])
        answers = await ask_strictly(self._redis, [*asked_first, *self.question(lane, jobs)])
        preferences, answers = _flat(answers[: len(asked_first)]), answers[len(asked_first) :]
        found, others = self.read(lane, jobs, answers)
        if others:
            asked: list[Command] = []
            for _, owner_key, _ in others:
                asked += [("HMGET", owner_key, "account", "device"), ("PTTL", keys.rest_of(owner_key))]
            rows = iter(await ask_strictly(self._redis, asked))
            for index, _, record in others:
                owner, rests_ms, former = next(rows), next(rows), found.destinations[index]
                its_own = self._destination(lane.app, jobs[index], record, owner, rests_ms)
                found.destinations[index] = replace(
                    its_own,
                    blocked=former.blocked,
                    withdrawn=former.withdrawn,
                    badge=former.badge,
                    fold=former.fold,
                )
        for index, record in enumerate(preferences):
            if record:
                its = preferences_or_strictest(record)
                found.destinations[index] = replace(
                    found.destinations[index], preview=its.preview, quiet_hours=its.quiet_hours
                )
        return found

    def question(self, lane: Lane, jobs: Sequence[Job]) -> list[Command]:
        """What `read` is to be given the answers to. At least one job."""
        commands: list[Command] = [
            ("EXISTS", keys.pause(lane)),
            ("SMISMEMBER", keys.blocked_accounts(), *(account_mark(job.account) for job in jobs)),
        ]
        for job in jobs:
            commands += self._look_up(lane, job)
        return commands

    def read(
        self, lane: Lane, jobs: Sequence[Job], answers: Sequence[Any]
    ) -> tuple[LaneRead, list[tuple[int, str, bytes]]]:
        """Where these jobs go; and the places of those whose registration names another push token than they do.

        With each of these the key of that token's owner, and the registration: its destination is not known yet.
        """
        found = list[Destination]()
        others = list[tuple[int, str, bytes]]()
        paused, blocked, *rest = answers
        rows = iter(rest)
        for index, (job, is_blocked) in enumerate(zip(jobs, blocked, strict=True)):
            withdrawn = self._asks_withdrawn(job) and is_withdrawn(next(rows))
            badge = number(next(rows)) if self._asks_badge(job) else None
            fold = folds.fold_of(job, next(rows)) if job.alert.is_fold else None
            if not job.device_id:
                is_unknown = bool(next(rows))
                found.append(
                    Destination(
                        blocked=bool(is_blocked), unknown=is_unknown, withdrawn=withdrawn, badge=badge, fold=fold
                    )
                )
                continue
            registration, owner, rests_ms = next(rows), next(rows), next(rows)
            owner_key, record = (
                registration_parts(self._redis.layout, lane.app_id, lane.app, registration)
                if registration
                else ("", b"")
            )
            mine = self._owner_key(lane, job)
            if owner_key and owner_key != mine:
                owner_key = self._key_of_reached(lane, job, owner_key, record)
            if owner_key and owner_key != mine:
                others.append((index, owner_key, record))
                found.append(Destination(blocked=bool(is_blocked), withdrawn=withdrawn, badge=badge, fold=fold))
                continue
            its_own = self._destination(lane.app, job, record, owner, rests_ms, blocked=bool(is_blocked))
            if withdrawn or badge is not None or fold is not None:
                its_own = replace(its_own, withdrawn=withdrawn, badge=badge, fold=fold)
            found.append(its_own)
        return LaneRead(found, bool(paused)), others

    def _asks_withdrawn(self, job: Job) -> bool:
        return self._with_withdrawals and job.alert.update is None and not job.alert.is_fold

    def _asks_badge(self, job: Job) -> bool:
        """What wakes an app in the background may carry none."""
        return self._with_badges and job.platform in BADGED and job.alert.update is not Update.READ

    def _look_up(self, lane: Lane, job: Job) -> list[Command]:
        layout: Layout = self._redis.layout
        app_id, asked = self._app_ids[lane.app], list[Command]()
        if self._asks_withdrawn(job):
            shard = layout.shard_of_account(job.account)
            alert = job.alert
            (mark,) = layout.mark_read(app_id, alert.message_id, shard, job.mark, alert.order.accepted_at_ms)
            asked.append(("HGET", *mark))
        if self._asks_badge(job):
            asked.append(asking(self._redis.layout, app_id, job.account))
        if job.alert.is_fold:
            asked.append(folds.asking(self._redis.layout, app_id, job))
        if not job.device_id:
            return [*asked, ("EXISTS", self._redis.layout.unknown(lane, job.account))]
        owner_key = self._owner_key(lane, job)
        return [
            *asked,
            ("HGET", self._redis.layout.account(app_id, lane.app, job.account), job.device_id),
            ("HMGET", owner_key, "account", "device"),
            ("PTTL", keys.rest_of(owner_key)),
        ]

    def _owner_key(self, lane: Lane, job: Job) -> str:
        layout: Layout = self._redis.layout
        return layout.push_token_of(self._app_ids[lane.app], lane.app, job.platform, job.token_digest)

    def _key_of_reached(self, lane: Lane, job: Job, owner_key: str, record: bytes) -> str:
        """That of the owner of the push token that is in use: mostly the registration's first."""
        device = device_or_none(lane.app, job.device_id, record)
        if device is None or not device.fallbacks or (reached := self._reached(device)) is None:
            return owner_key
        layout: Layout = self._redis.layout
        return layout.push_token(self._app_ids[lane.app], lane.app, reached.platform, reached.push_token)

    def _reached(self, device: Device, *, elsewhere: bool = False) -> Device | None:
        """`elsewhere`: it is no longer at the address that a job was planned for."""
        if self._channels is None or not (elsewhere or device.fallbacks or device.first_platform):
            return device
        return device.reached_by(self._channels[device.app])

    def _devices(self, app: str, fields: Sequence[bytes]) -> list[Device]:
        found = (
            device_or_none(app, device_id.decode(), record_in(registration))
            for device_id, registration in zip(fields[::2], fields[1::2], strict=True)
        )
        return [(device.fallbacks and self._reached(device)) or device for device in found if device]

    def _destination(
        self,
        app: str,
        job: Job,
        record: bytes,
        owner: Sequence[bytes | None],
        rests_ms: int,
        *,
        blocked: bool = False,
    ) -> Destination:
        is_owner = list(owner) == [account_digest(job.account).encode(), job.device_id.encode()]
        device = device_or_none(app, job.device_id, record) if record and is_owner else None
        if device is not None:
            device = self._reached(device, elsewhere=device.platform != job.platform)
        return Destination(device, max(rests_ms, 0) * MS, blocked)

    async def rest(self, device: Device, span: timedelta) -> None:
        """Nothing goes to the device for so long."""
        await script("rest_device").run_async(self._redis, [self._rest_key(device)], [max(span // MS, 1)])

    async def remove(self, device: Device, before: datetime, now: datetime) -> RemovalResult:
        """See removal.py."""
        return await self._removal.remove(device, before, now)

    async def mark_invalid(self, device: Device, invalid_reason: str) -> None:
        args: list[Argument] = [account_digest(device.account), device.device_id, "trouble", invalid_reason]
        owner = self._redis.layout.push_token(self._app_ids[device.app], device.app, device.platform, device.push_token)
        await script("note_on_token").run_async(self._redis, [owner], args)

    async def remember_unknown(self, lane: Lane, account: str, life: timedelta) -> None:
        await self._redis.set(self._redis.layout.unknown(lane, account), "1", px=life)

    def _rest_key(self, device: Device) -> str:
        return keys.rest_of(
            self._redis.layout.push_token(self._app_ids[device.app], device.app, device.platform, device.push_token)
        )


def _flat(answers: Iterable[Sequence[Any]]) -> list[Any]:
    """The values that several commands answered with."""
    return [value for values in answers for value in values]
