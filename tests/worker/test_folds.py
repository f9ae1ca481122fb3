"""Messages that follow an alert closely are told together: planned, due, pushed and ended on a real store."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from proxy.domain.alerts import AlertText, Update
from proxy.domain.dead_letters import Cause
from proxy.domain.decisions import Result
from proxy.domain.history import Reason, shortened
from proxy.domain.kinds import FOLD, KNOWN_TYPES, Kind, rule_of
from proxy.domain.messages import MessageReading
from proxy.domain.outcomes import About, Deferred, Rejected
from proxy.domain.preferences import Mute, Preferences, QuietHours
from proxy.domain.previews import Preview
from proxy.domain.settlements import Bury
from proxy.store.connection import Store
from proxy.store.queue.folds import Folding
from proxy.store.records import load_job
from proxy.store.scripts import ask_strictly
from proxy.store.users.preferences import RedisPreferences
from proxy.store.users.unread import asking, number
from tests.store.samples import DAY, LAYOUT, NOON, SECOND, names_like, new_of, queue_of, with_redis
from tests.worker.lane_bench import LaneBench
from tests.worker.provider import BROKEN, always
from tests.worker.test_history import notes, results
from tests.worker.test_plan import Logged
from tests.worker.test_withdrawals import Withdrawing

WINDOW, HOUR = timedelta(seconds=60), timedelta(hours=1)
OnFolds = Callable[..., None]
Told = int | str


class Folds(Withdrawing):
    """A relay whose alerts are folded, and a lane that pushes them; ben has a phone, and ann writes to him."""

    def __init__(
        self, redis: Any, store: Store, app_id: str, store_url: str, logged: Logged, *, replaces: bool
    ) -> None:
        super().__init__(redis, store, app_id, store_url)
        self.lane = self.accounts if replaces else self.phones
        self.folding = Folding(WINDOW, frozenset([self.lane]) if replaces else frozenset())
        of: dict[str, Any] = {"replaces": replaces, "withdraws": True, "window": WINDOW}
        self.bench = LaneBench(redis, store, self.lane, logged, **of)
        self.heir = LaneBench(redis, store, self.lane, logged, instance="worker-2", **of)
        self.numbers = 0

    async def write(self, *texts: str, **of: Any) -> None:
        """One second later each; m1, m2 and so on."""
        for text in texts or ("the words of ann",):
            self.numbers += 1
            self.now += SECOND
            self.say(f"m{self.numbers}", content=text, **{"sequence": self.numbers, **of})
            await self.plan(self.lane)

    async def at(self, seconds: float) -> list[Told]:
        """What the phones are told up to then: how many messages, or the name of the only one."""
        self.now = max(self.now, NOON + seconds * SECOND)
        return await self.push()

    async def push(self, bench: LaneBench | None = None) -> list[Told]:
        bench = bench or self.bench
        bench.now = self.now
        await queue_of(self.redis).move_due([self.lane], [], self.now, 100)
        before = len(bench.wire.built)
        await bench.turn()
        return [self.told(push.job) for push in bench.wire.built[before:]]

    @staticmethod
    def told(job: Any) -> Told:
        alert = job.alert
        if alert.update:
            return str(alert.update)
        return alert.text.count if alert.is_fold else f"m{alert.order.sequence}"

    async def due(self) -> list[float]:
        """When updates are, in seconds from NOON."""
        found = await self.redis.zrange(LAYOUT.retries(self.lane, 0), 0, -1, withscores=True)
        return [round(score / 1000 - NOON.timestamp(), 3) for _, score in found]


@pytest.fixture
def on_folds(store_url: str, store: Store, app_id: str, logged: Logged) -> OnFolds:
    def run(scenario: Callable[[Folds], Awaitable[None]], *, replaces: bool = False) -> None:
        async def to_its_end(redis: Any) -> None:
            relay = Folds(redis, store, app_id, store_url, logged, replaces=replaces)
            relay.register(["ben"])
            await relay.bench.queue.ensure_groups(relay.lane)
            for bench in (relay.bench, relay.heir):
                bench.start()
            try:
                async with asyncio.timeout(30):
                    await scenario(relay)
            finally:
                for bench in (relay.bench, relay.heir):
                    await bench.end()
                await relay.end()

        with_redis(store_url, to_its_end)

    return run


def test_the_first_alert_goes_at_once_and_what_follows_is_told_once_a_window(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write()
        assert await relay.push() == ["m1"]
        await relay.write("a", "b", "c")
        assert await relay.push() == []
        assert await relay.due() == [61.0]
        assert await relay.at(60.9) == []
        assert await relay.at(61) == [3]
        assert await relay.due() == []
        relay.now = NOON + 100 * SECOND
        await relay.write("d", "e")
        assert await relay.at(120.9) == []
        assert await relay.at(121) == [5]  # it takes the place of the 3
        assert await relay.at(200) == []
        await relay.write("f", "g")  # the conversation has been still for a window
        assert await relay.push() == ["m7"]
        assert await relay.at(400) == [1]
        folds = [push.job for push in relay.bench.wire.built if push.job.alert.is_fold]
        assert [job.alert.order.sequence for job in folds] == [4, 6, 8]
        assert folds[0].alert.message_id == folds[1].alert.message_id != folds[2].alert.message_id
        assert len({job.id for job in folds}) == 3

    on_folds(scenario)


def test_each_conversation_and_each_phone_has_a_fold_of_its_own(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write()
        relay.register(["ben"], "pad")
        await relay.write("to both", "to both")
        await relay.write("in a group", topic_id="t1", to=["ben"])
        await relay.write("of another", sender="cai")
        assert sorted(map(str, await relay.push())) == ["m1", "m2", "m4", "m4", "m5", "m5"]
        assert sorted(map(str, await relay.at(70))) == ["1", "2"]

    on_folds(scenario)


def test_calls_and_mentions_break_through_and_are_not_told_again(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        rules = KNOWN_TYPES | {"RING": rule_of(Kind.CALL, "test")}
        relay.reading = MessageReading(mentions=(("payload",),), rules=rules)
        await relay.write("", "")
        await relay.write("ben")
        await relay.write(type_="RING")
        await relay.write("")
        assert await relay.push() == ["m1", "m3", "m4"]
        assert await relay.at(70) == [2]

    on_folds(scenario)


def test_what_is_over_before_the_window_ends_is_told_at_once(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        short = replace(rule_of(Kind.TEXT, "test"), expiry=timedelta(seconds=20))
        relay.reading = MessageReading(rules=KNOWN_TYPES | {"BRIEF": short})
        await relay.write()
        await relay.write(type_="BRIEF")
        assert await relay.push() == ["m1", "m2"]

    on_folds(scenario)


def test_what_is_muted_is_not_counted(on_folds: OnFolds, store: Store) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b")
        book = RedisPreferences(store, {"main": relay.app_id})
        book.write("main", "ben", Preferences({"p2p:ann": Mute()}), None)
        await relay.write("muted")
        assert await relay.push() == ["m1"]
        assert await relay.at(70) == [1]

    on_folds(scenario)


def test_a_fold_is_silent_where_all_of_its_new_messages_are(on_folds: OnFolds, store: Store) -> None:
    async def scenario(relay: Folds) -> None:
        book = RedisPreferences(store, {"main": relay.app_id})
        quiet = QuietHours((NOON - HOUR).time(), (NOON + HOUR).time(), ZoneInfo("UTC"))
        await relay.write("a")
        book.write("main", "ben", Preferences(quiet_hours=quiet), None)
        await relay.write("quiet")
        assert await relay.at(61) == ["m1", 1]
        book.write("main", "ben", Preferences(), None)
        await relay.write("loud")
        assert await relay.at(122) == [2]
        book.write("main", "ben", Preferences(quiet_hours=quiet), None)
        await relay.write("quiet again")
        assert await relay.at(183) == [3]
        folds = [push.job.alert.silent for push in relay.bench.wire.built if push.job.alert.is_fold]
        assert folds == [True, False, True]

    on_folds(scenario)


def test_a_fold_that_is_told_in_quiet_hours_is_silent(on_folds: OnFolds, store: Store) -> None:
    async def scenario(relay: Folds) -> None:
        book = RedisPreferences(store, {"main": relay.app_id})
        quiet = QuietHours((NOON + 60 * SECOND).time(), (NOON + HOUR).time(), ZoneInfo("UTC"))
        book.write("main", "ben", Preferences(quiet_hours=quiet), None)
        await relay.write("while it may sound")
        assert await relay.at(0) == ["m1"]
        await relay.write("b")
        assert await relay.at(61) == [1]
        assert [push.job.alert.silent for push in relay.bench.wire.built] == [False, True]

    on_folds(scenario)


def test_at_preview_none_an_update_waits_without_a_name_or_a_word(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        relay.preview = Preview.NONE
        await relay.write("a", "b")
        ((record, _),) = await relay.redis.zrange(LAYOUT.retries(relay.lane, 0), 0, -1, withscores=True)
        assert load_job(record).alert.text == AlertText("", "", FOLD, count=1)
        assert record.startswith(b"\3")  # no alert of one message

    on_folds(scenario)


def test_the_badge_counts_each_message_when_it_comes(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        relay.counts = True
        await relay.write("a", "b", "c")
        await relay.write("d", topic_id="t1", to=["ben", "cai"])
        (total,) = await ask_strictly(relay.redis, [asking(LAYOUT, relay.app_id, "ben")])
        assert number(total) == 4
        assert await relay.at(61) == ["m1", "m4", 2]
        relay.recall("m2")
        await relay.plan(relay.lane)
        assert number((await ask_strictly(relay.redis, [asking(LAYOUT, relay.app_id, "ben")]))[0]) == 3

    on_folds(scenario)


def test_what_finds_its_lane_full_is_folded_once_there_is_room(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        relay.jobs_cap = 1
        await relay.write("a")
        await relay.write("b")  # the lane still has the first one's job
        assert await relay.due() == []
        assert await relay.push() == ["m1"]
        relay.now += 2 * SECOND
        assert await relay.move_due(relay.now) == 1
        await relay.plan(relay.lane)
        assert await relay.at(61) == [1]

    on_folds(scenario)


# kills


def test_a_message_that_is_planned_again_counts_once(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b", "c")
        for again in (2, 3):  # MIMC posts them once more
            relay.say(f"m{again}", sequence=again, to=["ben", "dan"])
        await relay.plan(relay.lane)
        dying = relay.instance(relay.lane, name="dying")
        relay.say("m4", sequence=4)
        dying.queue.fault = RuntimeError("killed before its plan was stored")
        await dying.worker.claim()
        assert await relay.at(61) == ["m1", 2]
        await relay.instance(relay.lane, name="planner-2").take_over()
        assert await relay.at(130) == [3]

    on_folds(scenario)


def test_an_update_whose_worker_died_is_pushed_by_another_and_nothing_is_lost(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b", "c")
        await relay.push()
        relay.now = NOON + 61 * SECOND
        queue = queue_of(relay.redis, "killed", lease=timedelta(milliseconds=1))
        await queue.move_due([relay.lane], [], relay.now, 100)
        (entry,) = await new_of(queue, relay.lane, 10)
        assert load_job(entry.record).alert.is_fold
        await relay.write("d")  # while the update has a dead worker's claim
        assert await relay.due() == []
        await relay.heir.take_over()
        assert [relay.told(push.job) for push in relay.heir.wire.built] == [3]
        assert await relay.at(400) == []

    on_folds(scenario)


def test_what_comes_while_an_update_is_on_its_way_is_told_with_the_next(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b", "c")
        await relay.push()
        relay.now = NOON + 61 * SECOND
        relay.bench.transport.answering.clear()
        pushing = asyncio.create_task(relay.push())
        await relay.bench.until(lambda: relay.bench.is_sent(2))
        await relay.write("d")
        assert await relay.due() == []
        relay.bench.now = relay.now
        relay.bench.transport.answering.set()
        assert await pushing == [2]
        assert await relay.due() == [122.0]
        assert await relay.at(122) == [3]
        assert await relay.due() == []

    on_folds(scenario)


def test_an_update_that_is_tried_again_tells_of_what_came_meanwhile(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b")
        await relay.push()
        relay.bench.wire.verdict = always(Deferred("503 ServiceUnavailable"))
        assert await relay.at(61) == [1]
        await relay.write("c", "d")
        relay.bench.wire.verdict = relay.heir.wire.verdict
        assert await relay.at(64) == [3]
        assert await relay.at(400) == []

    on_folds(scenario)


def test_what_follows_an_update_that_may_have_been_taken_waits_no_longer_than_a_window(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b")
        await relay.push()
        unreadable = Deferred("unreadable answer", timedelta(minutes=10), about=About.JOB, unanswered=True)
        relay.bench.wire.verdict = always(unreadable)
        assert await relay.at(61) == [1]
        relay.bench.wire.verdict = relay.heir.wire.verdict
        await relay.write("c")
        assert await relay.at(120) == []
        assert await relay.at(123) == [2]

    on_folds(scenario)


def test_an_update_that_the_provider_refuses_is_a_dead_letter_and_the_next_ones_go_on(
    on_folds: OnFolds, store: Store
) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b")
        await relay.push()
        accepts = relay.bench.wire.verdict
        relay.bench.wire.verdict = always(Rejected("PayloadTooLarge"))
        assert await relay.at(61) == [1]
        assert await relay.bench.dead_letters() == [b"PayloadTooLarge"]
        relay.bench.wire.verdict = accepts
        relay.now += WINDOW
        await relay.write("c", "d")
        assert await relay.push() == ["m3"]
        assert await relay.at(300) == [1]
        # an operator sends it again
        ((_, letter),) = await relay.redis.xrange(LAYOUT.dead_letters(relay.app_id, 0))
        job = load_job(letter[b"r"])
        assert (job.alert.text.count, job.alert.text.title) == (1, "")
        await relay.redis.xadd(LAYOUT.jobs(relay.lane, 0), {"r": letter[b"r"]})
        assert await relay.at(301) == [1]

    on_folds(scenario)


def test_an_update_that_ends_its_workers_takes_no_more_with_it(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b")
        await relay.push()
        queue = queue_of(relay.redis, "poisoned")
        await queue.move_due([relay.lane], [], NOON + 61 * SECOND, 100)
        (entry,) = await new_of(queue, relay.lane, 10)
        await queue.settle_jobs(relay.lane, [Bury(entry.id, Cause.POISON, "poison", load_job(entry.record))])
        assert await relay.due() == []
        relay.now = NOON + 200 * SECOND
        await relay.write("c")
        assert await relay.push() == ["m3"]

    on_folds(scenario)


def test_an_update_whose_count_the_store_has_lost_tells_of_one(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b", "c")
        await relay.push()
        (key,) = await names_like(relay.redis, f"*:{relay.app_id}:fold:*")
        await relay.redis.delete(key)
        assert await relay.at(61) == [1]

    on_folds(scenario)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_each_message_is_told_of_and_none_is_counted_twice(on_folds: OnFolds, seed: int) -> None:
    """Providers fail, workers die with an update in hand, messages are planned again: at the end all adds up."""
    dice = random.Random(seed)

    async def scenario(relay: Folds) -> None:
        accepted, told = relay.bench.wire.verdict, list[Any]()

        async def write_again() -> None:
            if relay.numbers:
                relay.say(f"m{relay.numbers}", sequence=relay.numbers, to=["ben", "dan"])
                await relay.plan(relay.lane)

        async def push(bench: LaneBench) -> None:
            before = len(bench.wire.built)
            await relay.push(bench)
            told.extend(push.job.alert for push in bench.wire.built[before:] if bench.wire.verdict is accepted)

        async def fail() -> None:
            relay.bench.wire.verdict = always(Deferred("503", about=About.JOB))  # which pauses no lane
            await push(relay.bench)
            relay.bench.wire.verdict = accepted

        async def die() -> None:
            queue = queue_of(relay.redis, "killed", lease=timedelta(milliseconds=1))
            await queue.move_due([relay.lane], [], relay.now, 100)
            await new_of(queue, relay.lane, 10)

        async def inherit() -> None:
            before, relay.heir.now = len(relay.heir.wire.built), relay.now
            await relay.heir.take_over()
            told.extend(push.job.alert for push in relay.heir.wire.built[before:])

        steps = [relay.write, relay.write, relay.write, write_again, lambda: push(relay.bench), fail, die, inherit]
        relay.heir.wire.verdict = accepted
        for _ in range(30):
            await dice.choice(steps)()
            relay.now += dice.choice([0, 1, 10, 70]) * SECOND
        for _ in range(3):
            await inherit()
            relay.now += 2 * WINDOW
            await push(relay.bench)
        alone = {alert.message_id for alert in told if not alert.is_fold}
        together = dict[str, list[int]]()
        for alert in told:
            if alert.is_fold:
                together.setdefault(alert.message_id, []).append(alert.text.count)
        assert len(alone) + sum(max(counts) for counts in together.values()) == relay.numbers
        assert all(counts == sorted(set(counts)) for counts in together.values())
        assert (await relay.due(), await relay.redis.xlen(LAYOUT.jobs(relay.lane, 0))) == ([], 0)

    on_folds(scenario)


# recalled, and read


def test_a_recalled_message_is_subtracted_and_without_any_the_update_is_left_out(
    on_folds: OnFolds, logged: Logged
) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b", "c")
        relay.recall("m2")
        await relay.plan(relay.lane)
        assert await relay.at(61) == ["m1", 1]
        relay.now = NOON + 100 * SECOND
        await relay.write("d")
        relay.recall("m4", sequence=101)
        await relay.plan(relay.lane)
        assert await relay.at(122) == []  # the one that is told already makes no news
        assert [it["result"] for it in logged if it["event"] == "push settled"][-1] == Result.WITHDRAWN
        await relay.write("e")
        relay.recall("m3", sequence=102)
        await relay.plan(relay.lane)
        assert await relay.at(300) == ["m5"]

    on_folds(scenario)


def test_a_recalled_message_that_was_told_is_not_told_again(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b", "c", "d")
        assert await relay.at(61) == ["m1", 3]
        await relay.write("e")
        relay.recall("m2")
        relay.recall("m2", sequence=101)
        await relay.plan(relay.lane)
        assert await relay.at(122) == [3]
        assert await relay.withdrawn(relay.lane) == []

    on_folds(scenario)


def test_a_read_deletes_the_count_and_the_update_and_takes_a_shown_one_from_the_phone(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b", "c")
        await relay.push()
        relay.read("m3")
        await relay.plan(relay.lane)
        assert await relay.push() == ["read"]  # m1 was shown
        assert await relay.at(61) == []
        await relay.write("d", "e")
        assert await relay.push() == ["m4"]
        assert await relay.at(130) == [1]
        await relay.write("f")
        relay.read("m5", sequence=99)
        await relay.plan(relay.lane)
        assert await relay.push() == ["read"]
        assert await relay.at(300) == [1]  # m6

    on_folds(scenario)


def test_a_fold_that_is_read_while_it_is_on_its_way_is_taken_back_after_it(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b", "c")
        await relay.push()
        relay.now = NOON + 61 * SECOND
        relay.bench.transport.answering.clear()
        pushing = asyncio.create_task(relay.push())
        await relay.bench.until(lambda: relay.bench.is_sent(2))
        relay.read("m3")
        await relay.plan(relay.lane)
        relay.bench.transport.answering.set()
        await pushing
        assert [it.alert.update for it in await relay.jobs(relay.lane)] == [Update.READ, Update.READ]
        assert await relay.due() == []

    on_folds(scenario)


# where alerts of a conversation replace each other


def test_where_it_takes_the_place_of_the_alert_before_a_fold_tells_of_that_too(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b", "c", "d")
        assert await relay.push() == ["m1"]
        assert await relay.at(61) == [4]
        await relay.write("e")
        relay.recall("m1")
        await relay.plan(relay.lane)
        assert [told for told in await relay.at(122) if told != "recall"] == [4]
        relay.read("m5")
        await relay.plan(relay.lane)
        assert await relay.push() == ["read"]
        assert await relay.at(300) == []

    on_folds(scenario, replaces=True)


# what is noted, and what stays as it was


def test_the_history_says_into_what_a_message_was_folded_and_how_many_a_fold_told_of(
    on_folds: OnFolds, store: Store, logged: Logged
) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b", "c")
        await relay.at(61)
        first = shortened(next(push.job for push in relay.bench.wire.built if push.job.alert.is_fold).alert.message_id)
        assert sorted(results(store, relay.app_id, "ben")) == [
            ("accepted", ""),
            ("accepted", "fold of 2"),
            (Reason.FOLDED, first),
            (Reason.FOLDED, first),
        ]
        assert {note.message_id for note in notes(store, relay.app_id, "ben") if note.reason == "fold of 2"} == {first}
        planned = [it["result"] for it in logged if it["event"] == "callback planned"]
        assert planned == ["planned", "folded into later updates", "folded into later updates"]

    on_folds(scenario)


def test_without_folding_each_has_its_alert_and_no_key_is_made(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        relay.folding = None
        await relay.write("a", "b", "c")
        assert await relay.push() == ["m1", "m2", "m3"]
        assert await names_like(relay.redis, f"*:{relay.app_id}:fold:*") == []

    on_folds(scenario)


def test_the_keys_of_folds_end_by_themselves(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write()
        (key,) = await names_like(relay.redis, f"*:{relay.app_id}:fold:*")
        assert 0 < await relay.redis.pttl(key) <= WINDOW / timedelta(milliseconds=1)
        await relay.write("b")
        assert DAY < await relay.redis.pttl(key) * timedelta(milliseconds=1) <= DAY + WINDOW

    on_folds(scenario)


# what only happens between two steps


def test_an_update_that_is_lost_is_made_again_and_tells_of_all(on_folds: OnFolds) -> None:
    """An earlier program beside this one buries it, for it cannot read it; or its lane is served no longer."""

    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b")
        await relay.push()
        await relay.redis.delete(LAYOUT.retries(relay.lane, 0))
        relay.now = NOON + HOUR
        await relay.write("c")
        assert await relay.at(3700) == [2]
        assert await relay.at(3800) == []
        await relay.write("d")
        assert await relay.push() == ["m4"]

    on_folds(scenario)


def test_an_update_that_was_only_late_is_not_told_twice(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b")
        await relay.push()
        for _ in range(3):  # the lane is paused for hours
            relay.now += HOUR
            await relay.write("c")
        assert await relay.push() == [4]
        assert await relay.at(5 * 3600) == []
        assert (await relay.due(), await relay.redis.xlen(LAYOUT.jobs(relay.lane, 0))) == ([], 0)

    on_folds(scenario)


def test_a_window_of_a_clock_that_was_ahead_holds_nothing_back(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        relay.now = NOON + 2 * HOUR
        await relay.write("a")
        relay.now = NOON
        await relay.write("b")
        assert await relay.at(62) == ["m1", 1]

    on_folds(scenario)


def test_what_comes_while_an_update_of_an_operator_is_on_its_way_is_told(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b")
        await relay.push()
        accepts, relay.bench.wire.verdict = relay.bench.wire.verdict, always(Rejected("PayloadTooLarge"))
        assert await relay.at(61) == [1]
        relay.bench.wire.verdict = accepts
        await relay.write("c", "d")
        assert await relay.push() == ["m3"]
        assert await relay.at(123) == [1]
        ((_, letter),) = await relay.redis.xrange(LAYOUT.dead_letters(relay.app_id, 0))
        await relay.redis.xadd(LAYOUT.jobs(relay.lane, 0), {"r": letter[b"r"]})
        built = len(relay.bench.wire.built)
        relay.bench.transport.answering.clear()
        pushing = asyncio.create_task(relay.push())
        await relay.bench.until(lambda: relay.bench.is_sent(built + 1))
        await relay.write("e")
        relay.bench.now = relay.now
        relay.bench.transport.answering.set()
        assert await pushing == [1]
        assert await relay.at(300) == [2]

    on_folds(scenario)


def test_a_sound_is_not_lost_because_an_update_was_on_its_way(on_folds: OnFolds, store: Store) -> None:
    async def scenario(relay: Folds) -> None:
        book = RedisPreferences(store, {"main": relay.app_id})
        quiet = QuietHours((NOON - HOUR).time(), (NOON + HOUR).time(), ZoneInfo("UTC"))
        await relay.write("a")
        await relay.push()
        book.write("main", "ben", Preferences(quiet_hours=quiet), None)
        await relay.write("quiet")
        relay.now = NOON + 61 * SECOND
        relay.bench.transport.answering.clear()
        pushing = asyncio.create_task(relay.push())
        await relay.bench.until(lambda: relay.bench.is_sent(2))
        book.write("main", "ben", Preferences(), None)
        await relay.write("loud")
        relay.bench.now = relay.now
        relay.bench.transport.answering.set()
        assert await pushing == [1]
        assert await relay.at(123) == [2]
        assert [push.job.alert.silent for push in relay.bench.wire.built if push.job.alert.is_fold] == [True, False]

    on_folds(scenario)


def test_a_sound_of_what_was_read_meanwhile_is_none_of_what_comes_then(on_folds: OnFolds, store: Store) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "loud")
        relay.read("m2")
        await relay.plan(relay.lane)
        book = RedisPreferences(store, {"main": relay.app_id})
        quiet = QuietHours((NOON - HOUR).time(), (NOON + HOUR).time(), ZoneInfo("UTC"))
        book.write("main", "ben", Preferences(quiet_hours=quiet), None)
        await relay.write("quiet")
        await relay.at(61)
        assert [push.job.alert.silent for push in relay.bench.wire.built if push.job.alert.is_fold] == [True]

    on_folds(scenario)


def test_a_fold_that_is_read_between_two_tries_is_taken_back(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write("a", "b", "c")
        await relay.push()
        relay.now = NOON + 61 * SECOND
        relay.bench.transport.failures = [BROKEN]  # though it may have arrived
        relay.bench.transport.answering.clear()
        pushing = asyncio.create_task(relay.push())
        await relay.bench.until(lambda: relay.bench.is_sent(2))
        relay.read("m3")
        await relay.plan(relay.lane)
        relay.bench.transport.answering.set()
        await pushing
        await relay.push()
        assert [relay.told(push.job) for push in relay.bench.wire.built] == ["m1", 2, "read", "read"]

    on_folds(scenario)


def test_a_recall_of_what_was_read_long_ago_takes_no_new_message_with_it(on_folds: OnFolds) -> None:
    async def scenario(relay: Folds) -> None:
        await relay.write(*["a"] * 40)
        assert await relay.at(61) == ["m1", 39]
        relay.read("m40")  # and 32 before
        await relay.plan(relay.lane)
        await relay.push()
        await relay.write("new")
        relay.recall("m3", sequence=200)
        await relay.plan(relay.lane)
        assert await relay.at(122) == [1]

    on_folds(scenario)
