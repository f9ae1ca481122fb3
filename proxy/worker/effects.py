"""Carries out what a decision changes besides the job: registrations, marks, the lane's pause."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from redis.exceptions import RedisError

from proxy.domain.decisions import (
    Decision,
    MarkInvalid,
    PauseLane,
    RememberUnknown,
    RemoveDevice,
    RestDevice,
    Result,
    after_removal,
)
from proxy.domain.jobs import ClaimedJob, Push
from proxy.domain.lanes import Lane
from proxy.domain.settlements import Finish
from proxy.store.devices.addresses import RedisAddresses
from proxy.worker.batches import Addressed
from proxy.worker.lane_control import LaneControl


class Effects:
    """Of one lane."""

    def __init__(
        self,
        lane: Lane,
        addresses: RedisAddresses,
        control: LaneControl,
        *,
        unknown_account_ttl: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._lane, self._addresses, self._control = lane, addresses, control
        self._unknown_account_ttl, self._now = unknown_account_ttl, now

    async def apply(
        self, addressed: Sequence[Addressed], decisions: Sequence[Decision]
    ) -> Sequence[Decision | RedisError]:
        """Those of the decisions about one answer; returns what is to be settled.

        Where the store refuses what one of them changes, its error is returned instead. Raises RedisError where the
        lane cannot be paused.
        """
        if all(decision.effect is None for decision in decisions):
            return decisions
        pause = next((one.effect for one in decisions if isinstance(one.effect, PauseLane)), None)
        if pause is not None:
            await self._control.pause(pause, self._now())
        return await asyncio.gather(
            *(
                self._apply_one(claimed, push, decision)
                for (claimed, push), decision in zip(addressed, decisions, strict=True)
            )
        )

    async def _apply_one(self, claimed: ClaimedJob, push: Push, decision: Decision) -> Decision | RedisError:
        try:
            return await self._applied(claimed, push, decision)
        except RedisError as error:
            return error

    async def _applied(self, claimed: ClaimedJob, push: Push, decision: Decision) -> Decision:
        device, now = push.device, self._now()
        match decision.effect:
            case RemoveDevice(before):
                if device is None:
                    return Decision(Finish(claimed.entry_id), Result.DEVICE_GONE)
                removal = await self._addresses.remove(device, before, now)
                return after_removal(claimed, removal, now, has_fallbacks=bool(device.fallbacks))
            case RestDevice(until) if device is not None:
                await self._addresses.rest(device, until - now)
            case MarkInvalid(reason) if device is not None:
                await self._addresses.mark_invalid(device, reason)
            case RememberUnknown():
                await self._addresses.remember_unknown(self._lane, claimed.job.account, self._unknown_account_ttl)
            case _:  # none; or an account's, which has no registration; or the lane's pause
                pass
        return decision
