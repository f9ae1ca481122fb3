"""The service with something to show on each page of the console: for the browser's tests and the screenshots."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import sin
from pathlib import Path
from typing import Any

from proxy.auth.operators import Operators
from proxy.auth.passwords import Argon2Passwords
from proxy.domain.api_keys import KEY_BYTES, ApiKey, Scope, hash_of, id_of, new_bearer
from proxy.domain.decisions import Result
from proxy.domain.figures import MESSAGES, seconds_within, settled
from proxy.store.connection import Store
from proxy.store.server.figures import FiguresKeeper
from proxy.store.users.api_keys import RedisApiKeys
from tests.receiver import SECRET, Receiver, always
from tests.store.samples import with_redis
from tests.system.rig import MAIN, OTHER, Rig, offline, offline_topic, push_token

OPERATOR, PASSWORD = "olga", "a-long-password-of-olga"
# addresses that show more of a page than it has at first
MORE: Mapping[str, Sequence[str]] = {"find": ["/find?account=alice"], "devices": ["/devices?account=alice"]}
_REFUSALS = ("PayloadTooLarge", "BadExpirationDate", "PayloadTooLarge")


@dataclass(frozen=True)
class Stage:
    rig: Rig

    @property
    def console(self) -> str:
        return f"{self.rig.operator}/console"

    def addresses_of(self, page: str) -> list[str]:
        """With what it shows at first, and with more; relative to `console`."""
        return [self.address(page), *MORE.get(page, ())]

    def address(self, page: str) -> str:
        return "/" if page == "now" else f"/{page.replace('_', '-')}"


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Alerts that arrived and alerts that were refused, a paused webhook beside one that works."""
    with Receiver() as works, Receiver() as gone:
        gone.answer = always(410)
        urls = {"archive": works.url, "search": gone.url}
        hooks = [{"name": name, "app": "main", "url": url, "secret": SECRET} for name, url in urls.items()]
        with Rig(folder, webhooks=hooks) as rig:
            operators = folder / "operators.sqlite3"
            _add_operator(operators)
            settings = {"APP_PROXY_CONSOLE__WRITES": "true", "APP_PROXY_CONSOLE__OPERATORS": str(operators)}
            rig.start_web(workers=1, **settings)
            rig.start_worker()
            _play(rig)
            _add_history(rig.store_address)
            _add_key(rig.store_address)
            yield Stage(rig)


def _add_operator(path: Path) -> None:
    operators = Operators(path, Argon2Passwords(), timedelta(hours=1))
    operators.add(OPERATOR, PASSWORD, datetime.now(UTC))
    operators.close()


def _add_key(url: str) -> None:
    bearer, now = new_bearer(secrets.token_bytes(KEY_BYTES)), datetime.now(UTC)
    scopes = frozenset({Scope.PUSH_SEND, Scope.TOPICS_ADMIN})
    key = ApiKey(id_of(hash_of(bearer)), "order-bot", "main", "orders", scopes, now - timedelta(days=200))
    keys = RedisApiKeys(Store(url))
    keys.add(key, bearer)
    keys.find(bearer, now - timedelta(minutes=20))  # it is used


def _add_history(url: str) -> None:
    """A day's figures, as a worker writes them: busy by noon, quiet by night, and one trouble."""

    async def adding(redis: Any) -> None:
        keeper, now = FiguresKeeper(redis), datetime.now(UTC)
        for age in (*range(24 * 60, 60, -15), *range(60, 0, -1)):
            count = round(300 + 250 * sin(age / 190) + 40 * sin(age / 7)) * (15 if age > 60 else 1)
            slow = count // 3 if 300 < age < 400 else count // 90
            sums = {MESSAGES: count, seconds_within(0.02): count - slow, seconds_within(2.0): slow}
            sums |= {
                settled("main", "apns", Result.ACCEPTED): count - slow,
                settled("main", "apns", Result.RETRY): slow,
            }
            await keeper.add(sums, now - age * timedelta(minutes=1))

    with ThreadPoolExecutor() as thread:  # this one has playwright's event loop
        thread.submit(with_redis, url, adding).result()


def _play(rig: Rig) -> None:
    tokens = {name: push_token() for name in ("alice", "carl", "dora")}
    for name, token in tokens.items():
        rig.register(name, f"{name}-iphone", token).raise_for_status()
    rig.register("alice", "alice-ipad", push_token(), app_id=OTHER).raise_for_status()
    for reason in _REFUSALS:
        rig.fault("apns", effect="answer", reason=reason, target=tokens["carl"], times=1)
    said = [offline("bob", "alice", "lunch at twelve?", 1), offline("carl", "alice", "the train is late", 2)]
    said += [offline("bob", "carl", f"the plan, page {number}", 10 + number) for number in range(len(_REFUSALS))]
    said += [offline_topic("dora", ["alice", "carl"], "who brings cake?", 20)]
    for body in said:
        rig.post(body).raise_for_status()
    rig.wait(lambda: len(rig.accepted()) >= 4, "the alerts")
    rig.wait(lambda: "main/webhook-search" in str(rig.readiness()), "the pause of the webhook that is gone")
    rig.wait(lambda: len(rig.dead_letters(MAIN)) >= len(_REFUSALS), "the dead letters")
