"""Which lanes are paused, and why: one truth for all workers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from redis.exceptions import RedisError

from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane, Pause, PauseKind, StoredLane
from proxy.domain.times import MS, from_ms, to_ms
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.records import dump_job
from proxy.store.scripts import Argument, Command, ask, ask_now, script
from proxy.store.troubles import is_the_stores_own

_UNKNOWN = datetime.fromtimestamp(0, UTC)
_NOBODY_PROBES = b"1"  # what pause_lane.lua writes; a worker that probes writes its own name
PAUSE_FIELDS = ("reason", "since", "kind")


class RedisLaneStates:
    """The pauses of lanes. `instance` names the worker that probes; optional for callers that never probe."""

    def __init__(self, redis: Any, instance: str = "") -> None:
        self._redis = redis
        self._instance = instance

    async def states(self, lanes: Sequence[Lane]) -> dict[Lane, StoredLane]:
        """Of each lane whether it is paused, and if not, whether it was resumed just now.

        A lane whose key is broken counts as paused: its next probe that gets through makes the key anew.
        """
        commands: list[Command] = []
        for lane in lanes:
            commands += [("HMGET", keys.pause(lane), *PAUSE_FIELDS), ("PTTL", keys.resumed(lane))]
        answers = iter(await ask(self._redis, commands))
        return {lane: _state(next(answers), next(answers)) for lane in lanes}

    async def pause(
        self,
        lane: Lane,
        reason: str,
        now: datetime,
        first_probe: datetime,
        kind: PauseKind = PauseKind.FAULT,
        longest_wait: timedelta = timedelta(0),
    ) -> bool:
        """The lane is paused, and no worker probes it before `first_probe`. True where that is news.

        The probes of a breaker are further and further apart, up to `longest_wait`.
        """
        wait_ms = max(to_ms(first_probe) - to_ms(now), 1)
        longest_ms = max(longest_wait // MS, wait_ms)
        args: list[Argument] = [kind, reason, to_ms(now), wait_ms, longest_ms, keys.PAUSE_TTL_S, self._instance]
        return bool(await script("pause_lane").run_async(self._redis, [keys.pause(lane), keys.probe(lane)], args))

    async def may_probe(self, lane: Lane, lease: timedelta) -> bool:
        """True for one worker: it may send one job to see whether the lane works again.

        It then pauses the lane anew, lets it go on or withdraws. If it does nothing of these, because the store was
        away, it may ask again, and another after the lease.
        """
        args: list[Argument] = [self._instance, max(lease // MS, 1)]
        return bool(await script("take_probe").run_async(self._redis, [keys.probe(lane)], args))

    async def withdraw_probe(self, lane: Lane) -> None:
        """The probe has not left."""
        await script("withdraw_probe").run_async(self._redis, [keys.probe(lane)], [self._instance])

    async def resume(self, lane: Lane) -> bool:
        """The lane goes on, which all workers know for a while. False where it was not paused."""
        return bool(await script("resume_lane").run_async(self._redis, *_resuming(lane)))


@dataclass(frozen=True)
class LaneView:
    """A lane as an operator sees it: how many wait for a worker, how many for another try, and in how long a paused
    one may be probed; zero: as soon as there is something to send, or a probe is under way.
    """

    lane: Lane
    waiting: int
    retrying: int
    pause: Pause | None
    probe_in: timedelta = timedelta(0)


def lane_views(store: Store, lanes: Sequence[Lane]) -> list[LaneView]:
    """In one round trip. Raises StoreUnavailable."""
    layout, asked = store.layout, list[Command]()
    for lane in lanes:
        asked += [("XLEN", layout.jobs(lane, shard)) for shard in layout.all_shards]
        asked += [("ZCARD", layout.retries(lane, shard)) for shard in layout.all_shards]
        asked += [("HMGET", keys.pause(lane), *PAUSE_FIELDS), ("GET", keys.probe(lane)), ("PTTL", keys.probe(lane))]
    answers = iter(store.call(partial(ask_now, commands=asked)) if asked else ())
    return [_view(lane, answers, len(layout.all_shards)) for lane in lanes]


def _view(lane: Lane, answers: Iterator[Any], shards: int) -> LaneView:
    waiting, retrying = (sum(islice(answers, shards)) for _ in range(2))
    pause, probe, probe_ttl_ms = read_pause(next(answers)), next(answers), next(answers)
    waits = pause is not None and probe == _NOBODY_PROBES
    return LaneView(lane, waiting, retrying, pause, max(probe_ttl_ms, 0) * MS if waits else timedelta(0))


def append_job(store: Store, lane: Lane, job: Job, cap: int) -> bool:
    """The job waits in its lane, as if it had been planned just now. False: the lane holds `cap` of them or more.

    Raises StoreUnavailable.
    """
    layout = store.layout
    if lane_views(store, [lane])[0].waiting >= cap:
        return False
    stream = layout.jobs(lane, layout.shard_of_account(job.account))
    command: Command = ("XADD", stream, "*", "r", dump_job(job, compact=layout.is_compact))
    store.call(partial(ask_now, commands=[command]))
    return True


def resume_now(store: Store, lane: Lane) -> bool:
    """As RedisLaneStates.resume. Raises StoreUnavailable."""
    return bool(store.call(lambda redis: script("resume_lane").run(redis, *_resuming(lane))))


def drop_lane(store: Store, lane: Lane) -> int:
    """All that waits in the lane is gone; returns how many that were. Raises StoreUnavailable."""
    (view,), layout = lane_views(store, [lane]), store.layout
    names = [it(lane, shard) for shard in layout.all_shards for it in (layout.jobs, layout.retries)]
    names += [keys.pause(lane), keys.probe(lane), keys.resumed(lane)]
    store.call(partial(ask_now, commands=[("UNLINK", name) for name in names]))
    return view.waiting + view.retrying


def _resuming(lane: Lane) -> tuple[list[str], list[Argument]]:
    return [keys.pause(lane), keys.probe(lane), keys.resumed(lane)], [keys.RESUMED_TTL_S]


def read_pause(found: Sequence[bytes | None]) -> Pause | None:
    """The values of PAUSE_FIELDS; a kind that we do not know, or none, was written by another version."""
    reason, since, kind = found
    if not reason or not since:
        return None
    known = [pause_kind for pause_kind in PauseKind if kind == pause_kind.encode()]
    return Pause(reason.decode(), from_ms(int(since)), known[0] if known else PauseKind.FAULT)


def _state(found: Any, resumed_ttl_ms: int) -> StoredLane:
    if isinstance(found, RedisError):
        if is_the_stores_own(found):
            raise found
        return StoredLane(Pause("the store cannot read the lane's state", _UNKNOWN))
    pause = read_pause(found)
    if pause or resumed_ttl_ms < 0:
        return StoredLane(pause)
    return StoredLane(None, timedelta(seconds=keys.RESUMED_TTL_S) - resumed_ttl_ms * MS)
