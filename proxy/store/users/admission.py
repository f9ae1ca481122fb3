"""May this caller go on? Rate limits, blocks and ended sessions, asked for in one round trip.

The counters may have a server of their own (`limits.url`), then it is one round trip to each.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from proxy.domain.lanes import Lane
from proxy.domain.limits import Admitted, Blocked, Budget, Exceeded, Window
from proxy.domain.times import to_ms
from proxy.errors import StoreUnavailable
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.scripts import Argument, Command, ask_now, script
from proxy.store.users.blocks import account_mark
from proxy.store.users.local_counts import LocalCounts

if TYPE_CHECKING:
    from proxy.domain.quotas import QuotaRequest, QuotaSpent
    from proxy.store.users.quotas import RedisQuotas


class RedisAdmission:
    """Implements ports.Admission. Safe to share between threads.

    `counters` is the server of the counters, None: the store. `account_lanes` are the Mi Push lanes whose address is
    the account itself: its provider may call one unknown. `app_ids` maps a section's name to its appId.
    """

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime],
        counters: Store | None = None,
        app_ids: Mapping[str, str] | None = None,
        account_lanes: Sequence[Lane] = (),
        quotas: "RedisQuotas | None" = None,
    ) -> None:
        self._store, self._now, self._counters = store, now, counters
        self._app_ids = app_ids or {}
        self._account_lanes, self._quotas = account_lanes, quotas
        self._local = LocalCounts()
        self._script = script("admit")

    def count(self, address: Budget) -> Exceeded | None:
        return self._local.count(address, to_ms(self._now()))

    def spend(self, budgets: Sequence[Budget], address: Budget | None) -> Exceeded | None:
        now_ms = to_ms(self._now())
        return self._spent(self._counters or self._store, budgets, address, now_ms)

    def admit(
        self,
        account: str,
        session_id: str | None,
        app: str | None,
        budget: Budget | None = None,
        address: Budget | None = None,
        api_key: str | None = None,
        quota: "QuotaRequest | None" = None,
    ) -> "Admitted | Blocked | Exceeded | QuotaSpent":
        """One message's quota is taken in the same round trip, and given back where the caller may not go on. Of more
        a blocked caller would keep others waiting, so these are taken by a caller who may.
        """
        now, proof, quotas = self._now(), _Proof(account, session_id, app, api_key), self._quotas
        now_ms = to_ms(now)
        if quota is None or quotas is None:
            return self._admitted(proof, budget, address, now_ms)
        if quota.number == 1 and self._counters is None:
            verdict, answers = self._proved(proof, budget, address, now_ms, quotas.taking(quota, now_ms))
            spent = quotas.spent(quota, answers)
            if isinstance(verdict, Admitted):
                return spent or verdict
            if answers and not spent:
                back = quotas.giving_back(quota, now_ms)
                self._store.call(lambda redis: ask_now(redis, [back]))
            return verdict
        verdict = self._admitted(proof, budget, address, now_ms)
        if not isinstance(verdict, Admitted):
            return verdict
        try:
            return quotas.take(quota, now) or verdict
        except StoreUnavailable:
            return Admitted(counted=False)

    def _admitted(
        self, proof: "_Proof", budget: Budget | None, address: Budget | None, now_ms: int
    ) -> Admitted | Blocked | Exceeded:
        if self._counters is None:
            return self._proved(proof, budget, address, now_ms)[0]
        try:
            exceeded = self._spent(self._counters, [budget] if budget else [], address, now_ms)
        except StoreUnavailable:
            verdict, _ = self._proved(proof, None, None, now_ms)
            return Admitted(counted=False) if isinstance(verdict, Admitted) else verdict
        if exceeded:
            return exceeded
        return self._proved(proof, None, None, now_ms)[0]

    def has_signed_in(self, account: str, network: str) -> bool:
        return bool(self._store.call(lambda redis: redis.exists(keys.signed_in(account, network))))

    def remember_sign_in(self, account: str, network: str) -> None:
        with suppress(StoreUnavailable):
            self._store.call(lambda redis: redis.set(keys.signed_in(account, network), "1", ex=keys.SIGNED_IN_TTL_S))

    def _proved(
        self, proof: "_Proof", budget: Budget | None, address: Budget | None, now_ms: int, also: Sequence[Command] = ()
    ) -> tuple[Admitted | Blocked | Exceeded, list[Any]]:
        """May they go on, and the answers to `also`, which is asked whether they may or not.

        The account is in use: a provider that did not know it is asked again, unless it may not go on. Blocks, counter
        and marks lie where they lie; in a cluster on nodes of their own. So they are commands of one round trip, and a
        blocked account's call is counted too.
        """
        blocks: list[Command] = [("SISMEMBER", keys.blocked_accounts(), account_mark(proof.account))]
        if proof.session_id is not None:
            blocks.append(("EXISTS", keys.blocked_session(proof.session_id)))
        holds: list[Command] = [("HEXISTS", keys.api_keys(), proof.api_key)] if proof.api_key else []
        counter = [self._command(budget, 0, now_ms)] if budget else []
        marks = self._unknown_marks(proof.account, proof.app)
        exists: list[Command] = [("EXISTS", mark) for mark in marks]
        exceeded: Exceeded | None
        exceeded, *answers = self._ask(self._store, [*blocks, *holds, *counter, *also, *exists], address, now_ms)
        lengths = [len(it) for it in (blocks, holds, counter, also, exists)]
        blocked, held, counted, answered, present = _parted(answers, lengths)
        if any(blocked) or not all(held):
            return Blocked(), answered
        if exceeded is None and budget:
            verdict, *window = counted[0]
            exceeded = None if verdict else _exceeded(budget, window, now_ms)
        if exceeded:
            return exceeded, answered
        found = [mark for mark, is_there in zip(marks, present, strict=True) if is_there]
        if found:
            with suppress(StoreUnavailable):
                self._store.call(lambda redis: ask_now(redis, [("DEL", mark) for mark in found]))
        return Admitted(), answered

    def _unknown_marks(self, account: str, app: str | None) -> list[str]:
        """Where it is said that a provider does not know the account, in the sections that the proof is good for."""
        app_id = self._app_ids.get(app or "")
        lanes = (lane for lane in self._account_lanes if app is None or lane.app_id == app_id)
        return [self._store.layout.unknown(lane, account) for lane in lanes]

    def _spent(self, store: Store, budgets: Sequence[Budget], address: Budget | None, now_ms: int) -> Exceeded | None:
        asked = [self._command(budget, 0, now_ms) for budget in budgets]
        exceeded, *answers = self._ask(store, asked, address, now_ms)
        refused = (
            _exceeded(budget, window, now_ms)
            for budget, (verdict, *window) in zip(budgets, answers, strict=True)
            if not verdict
        )
        return exceeded or next(refused, None)

    def _ask(self, store: Store, commands: list[Command], address: Budget | None, now_ms: int) -> list[Any]:
        """What the store says of the address, then the answers to all commands: one round trip."""
        unshared = self._local.take(address, now_ms) if address else 0
        if address is None or not unshared:
            return [None, *(store.call(lambda redis: ask_now(redis, commands)) if commands else [])]
        first = self._command(address, unshared - 1, now_ms)
        try:
            (verdict, *window), *answers = store.call(lambda redis: ask_now(redis, [first, *commands]))
        except StoreUnavailable:
            self._local.give_back(address, unshared, now_ms)
            raise
        self._local.learn(address, Window(*window), now_ms)
        return [None if verdict else _exceeded(address, window, now_ms), *answers]

    def _command(self, budget: Budget, passed: int, now_ms: int) -> Command:
        args: list[Argument] = [now_ms, budget.span_ms, budget.calls, passed]
        return self._script.call([keys.calls(budget.name, budget.caller)], args)


class _Proof(NamedTuple):
    """Of a caller, as `admit` is given it."""

    account: str
    session_id: str | None
    app: str | None
    api_key: str | None


def _parted(answers: list[Any], lengths: Sequence[int]) -> list[list[Any]]:
    rest = iter(answers)
    return [list(islice(rest, length)) for length in lengths]


def _exceeded(budget: Budget, window: Sequence[int], now_ms: int) -> Exceeded:
    return Exceeded(budget, max(Window(*window).wait_ms(now_ms, budget), 1))
