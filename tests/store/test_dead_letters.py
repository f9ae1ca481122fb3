"""Dead letters: all that a person needs to find out why, and nothing that people wrote."""

import json
from dataclasses import replace
from typing import Any

from proxy.domain.jobs import Job
from proxy.domain.letters import Cause
from proxy.ports import Bury
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.dead_letters import RedisDeadLetters, to_json
from tests.store.samples import NO_WAIT, apns_lane, job, put_jobs, queue_of, raw, with_redis


def bury(store_url: str, app_id: str, jobs: list[Job], reason: str = "PayloadTooLarge") -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await put_jobs(redis, lane, jobs)
        await queue.ensure_group(keys.jobs(lane))
        entries = await queue.claim(keys.jobs(lane), 100, NO_WAIT)
        await queue.settle_jobs(
            lane, [Bury(it.id, Cause.REJECTED, reason, one) for it, one in zip(entries, jobs, strict=True)]
        )

    with_redis(store_url, scenario)


def test_a_dead_letter_tells_whose_job_it_was_and_why_it_ended(store: Store, store_url: str, app_id: str) -> None:
    one = replace(job(apns_lane(app_id)), attempt=3)
    bury(store_url, app_id, [one])
    (letter,) = RedisDeadLetters(store, {app_id}).recent(10)
    assert (letter.reason, letter.job_id, letter.account, letter.device_id, letter.attempt) == (
        "PayloadTooLarge", one.id, "ben", "phone", 3,
    )  # fmt: skip
    line = json.loads(to_json(letter))
    assert line["account"] == "ben"
    assert line["at"].endswith("+00:00")


def test_no_text_of_the_message_is_kept(store: Store, store_url: str, app_id: str) -> None:
    bury(store_url, app_id, [job(apns_lane(app_id))])
    assert b"words" not in b"".join(raw(store, "XRANGE", keys.dead_letters(app_id), "-", "+")[0][1])


def test_the_newest_come_first_and_one_section_can_be_asked_for(store: Store, store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)
    jobs = [job(lane, f"user-{n}") for n in range(4)]
    bury(store_url, app_id, [replace(it, app="beta") if n == 3 else it for n, it in enumerate(jobs)])
    letters = RedisDeadLetters(store, {app_id, app_id + "0"})
    assert [it.account for it in letters.recent(2)] == ["user-3", "user-2"]
    assert [it.account for it in letters.recent(10, app="main")] == ["user-2", "user-1", "user-0"]
    assert [it.account for it in letters.recent(10, app="none")] == []


def test_one_section_is_not_hidden_behind_anothers_newer_letters(store: Store, store_url: str, app_id: str) -> None:
    jobs = [job(apns_lane(app_id), f"user-{n}") for n in range(4)]
    bury(store_url, app_id, [it if n == 0 else replace(it, app="beta") for n, it in enumerate(jobs)])
    assert [it.account for it in RedisDeadLetters(store, {app_id}).recent(1, app="main")] == ["user-0"]


def test_a_record_that_is_no_job_is_shown_with_its_reason_alone(store: Store, app_id: str) -> None:
    raw(store, "XADD", keys.dead_letters(app_id), "*", "reason", "poison callback", "r", "{}")
    (letter,) = RedisDeadLetters(store, {app_id}).recent(10)
    assert (letter.reason, letter.job_id, letter.account) == ("poison callback", "", "")
