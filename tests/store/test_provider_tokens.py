"""One provider token for all of a team's processes, and never a new one too soon."""

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxy.channels.apns.provider_token import fresh_enough
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.provider_tokens import FixedAuthorization, SharedProviderToken
from proxy.store.server.clocks import StoreClock
from tests.store.samples import NOON, SECOND, raw, with_redis

MINUTE = timedelta(minutes=1)


@dataclass
class Signer:
    """Makes tokens whose text is their time and number; the real ones are signed in channels/apns."""

    now: datetime = NOON
    made: list[str] = field(default_factory=list)

    def sign(self, now: datetime) -> str:
        self.made.append(f"{int(now.timestamp())}.{len(self.made)}")
        return self.made[-1]


def issued_at(token: str) -> datetime:
    return datetime.fromtimestamp(int(token.split(".", maxsplit=1)[0]), UTC)


def shared(redis: Any, key: str, signer: Signer) -> SharedProviderToken:
    return SharedProviderToken(redis, key, signer.sign, issued_at, fresh_enough, lambda: signer.now)


@pytest.fixture
def key() -> str:
    return keys.provider_token("TEAM", uuid.uuid4().hex, b"PEM")


def test_of_twenty_processes_one_signs(store: Store, store_url: str, key: str) -> None:
    signer = Signer()

    async def scenario(redis: Any) -> None:
        processes = [shared(redis, key, signer) for _ in range(20)]
        found = await asyncio.gather(*(it.current() for it in processes for _ in range(3)))
        assert set(found) == {f"bearer {signer.made[0]}"}

    with_redis(store_url, scenario)
    assert len(signer.made) == 1
    assert 0 < raw(store, "TTL", key) <= keys.PROVIDER_TOKEN_TTL_S
    assert raw(store, "EXISTS", f"{key}:signing") == 0


def test_a_young_token_that_is_called_too_old_is_told_and_an_older_one_is_not(store_url: str, key: str) -> None:
    signer, heard = Signer(), []

    async def scenario(redis: Any) -> None:
        token = SharedProviderToken(
            redis, key, signer.sign, issued_at, fresh_enough, lambda: signer.now, lambda: heard.append(signer.now)
        )
        refused = await token.current()
        signer.now = NOON + 21 * MINUTE
        assert await token.renew(refused)
        assert heard == []
        signer.now += 19 * MINUTE
        assert not await token.renew(await token.current())
        assert heard == [signer.now]

    with_redis(store_url, scenario)


def test_who_looked_before_another_signed_does_not_sign_again(store_url: str, key: str) -> None:
    """The store's answers of the first process are held back until the second has signed and let go of the lock."""
    signer = Signer()

    class Slow:
        def __init__(self, redis: Any, go_on: asyncio.Event) -> None:
            self._redis, self._go_on = redis, go_on

        async def get(self, name: str) -> bytes | None:
            found: bytes | None = await self._redis.get(name)
            await self._go_on.wait()
            return found

        def __getattr__(self, name: str) -> Any:
            return getattr(self._redis, name)

    async def scenario(redis: Any) -> None:
        go_on = asyncio.Event()
        slow = asyncio.create_task(shared(Slow(redis, go_on), key, signer).current())
        await asyncio.sleep(0.05)
        quick = await shared(redis, key, signer).current()
        go_on.set()
        assert await slow == quick

    with_redis(store_url, scenario)
    assert len(signer.made) == 1


def test_a_token_is_kept_for_45_minutes_and_then_made_anew_once(store_url: str, key: str) -> None:
    signer = Signer()

    async def scenario(redis: Any) -> None:
        one, two = shared(redis, key, signer), shared(redis, key, signer)
        first = await one.current()
        assert await two.current() == first
        signer.now += 45 * MINUTE - SECOND
        assert await one.current() == first
        signer.now += SECOND
        second = await one.current()
        assert second != first
        assert await two.current() == second

    with_redis(store_url, scenario)
    assert len(signer.made) == 2


def test_a_refused_token_younger_than_20_minutes_is_not_replaced(store_url: str, key: str) -> None:
    signer = Signer()

    async def scenario(redis: Any) -> None:
        token = shared(redis, key, signer)
        refused = await token.current()
        signer.now += 20 * MINUTE - SECOND
        assert not await token.renew(refused)
        assert await token.current() == refused
        signer.now += SECOND
        assert await token.renew(refused)
        assert await token.current() != refused

    with_redis(store_url, scenario)
    assert len(signer.made) == 2


def test_of_many_who_were_refused_one_makes_a_new_token_and_all_have_it(store_url: str, key: str) -> None:
    signer = Signer()

    async def scenario(redis: Any) -> None:
        processes = [shared(redis, key, signer) for _ in range(8)]
        refused = (await asyncio.gather(*(it.current() for it in processes)))[0]
        signer.now += 30 * MINUTE
        answers = await asyncio.gather(*(it.renew(refused) for it in processes for _ in range(3)))
        assert set(answers) == {True}
        assert {await it.current() for it in processes} == {f"bearer {signer.made[1]}"}

    with_redis(store_url, scenario)
    assert len(signer.made) == 2


def test_another_processes_new_token_is_taken_even_within_20_minutes(store_url: str, key: str) -> None:
    signer = Signer()

    async def scenario(redis: Any) -> None:
        token = shared(redis, key, signer)
        refused = await token.current()
        signer.now += MINUTE
        await redis.set(key, signer.sign(signer.now), ex=60)
        assert await token.renew(refused)
        assert await token.current() == f"bearer {signer.made[1]}"

    with_redis(store_url, scenario)
    assert len(signer.made) == 2


def test_a_signer_that_died_holds_nobody_up_for_long(store_url: str, key: str) -> None:
    signer = Signer()

    async def scenario(redis: Any) -> None:
        await redis.set(f"{key}:signing", "1", px=80)  # what it left
        assert await shared(redis, key, signer).current() == f"bearer {signer.made[0]}"

    with_redis(store_url, scenario)


def test_a_fixed_key_is_what_it_is_and_has_no_other() -> None:
    fixed = FixedAuthorization("key=abc")
    assert asyncio.run(fixed.current()) == "key=abc"
    assert not asyncio.run(fixed.renew("key=abc"))


def test_a_worker_whose_clock_is_wrong_shares_a_token_of_the_stores_time(store_url: str, key: str) -> None:
    async def scenario(redis: Any) -> tuple[str, str, datetime]:
        found = []
        for ahead in (timedelta(hours=2), timedelta(0)):
            clock = StoreClock(redis, lambda ahead=ahead: datetime.now(UTC) + ahead)  # type: ignore[misc]
            token = SharedProviderToken(
                redis, key, Signer().sign, issued_at, fresh_enough, clock.now, measure=clock.measure
            )
            found.append(await token.current())
        seconds, _ = await redis.time()
        return found[0], found[1], datetime.fromtimestamp(int(seconds), UTC)

    of_the_wrong, of_the_right, store_time = with_redis(store_url, scenario)
    assert of_the_wrong == of_the_right
    assert abs(issued_at(of_the_wrong.removeprefix("bearer ")) - store_time) < 60 * SECOND


def test_a_signer_that_took_too_long_leaves_the_next_ones_lock_alone(store: Store, store_url: str, key: str) -> None:
    signer = Signer()

    async def scenario(redis: Any) -> None:
        async def stall() -> None:  # so long that the lock ended and is another's by now
            await redis.set(f"{key}:signing", "another's")

        token = SharedProviderToken(redis, key, signer.sign, issued_at, fresh_enough, lambda: NOON, measure=stall)
        assert await token.current() == f"bearer {signer.made[0]}"

    with_redis(store_url, scenario)
    assert raw(store, "GET", f"{key}:signing") == b"another's"
