"""The quotas of each app at MIMC, shared by all processes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from proxy.domain.quotas import Amount, Holder, Quota, QuotaRequest, QuotaSpent
from proxy.domain.times import MS, to_ms
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.scripts import Argument, Command, ask_now, script

_HOLDERS = (Holder.APP, Holder.USERS, Holder.ACCOUNT)


class RedisQuotas:
    """Implements ports.Quotas. `app_ids` maps a section's name to its appId; an amount without a quota is not limited.

    `store` is the server of the counters, where they have one of their own.
    """

    def __init__(self, store: Store, app_ids: Mapping[str, str], quotas: Mapping[Amount, Quota]) -> None:
        self._store, self._app_ids, self._quotas = store, app_ids, quotas
        self._take = script("take_quota")

    def take(self, request: QuotaRequest, now: datetime) -> QuotaSpent | None:
        """One round trip."""
        commands = self.taking(request, to_ms(now))
        return self.spent(request, self._store.call(lambda redis: ask_now(redis, commands))) if commands else None

    def taking(self, request: QuotaRequest, now_ms: int) -> list[Command]:
        """For a round trip that has more to ask: one command, whose answer `spent` reads, or none."""
        quota = self._quotas.get(request.amount)
        if quota is None or request.number < 1:
            return []
        names, shares = self._names(request), [quota.most, quota.of_users, quota.of_account]
        args: list[Argument] = [now_ms, quota.span // MS, request.number, *shares[: len(names)]]
        return [self._take.call(names, args)]

    def spent(self, request: QuotaRequest, answers: list[Any]) -> QuotaSpent | None:
        """What `taking` was answered; None: it was taken, or there is no quota."""
        if not answers:
            return None
        ((which, *wait_ms),) = answers
        return QuotaSpent(request.amount, _HOLDERS[which - 1], wait_ms[0]) if which else None

    def giving_back(self, request: QuotaRequest, taken_ms: int) -> Command:
        """One message that was taken at `taken_ms` does not leave after all."""
        span_ms = self._quotas[request.amount].span // MS
        return script("give_back_quota").call(self._names(request), [taken_ms, span_ms])

    def _names(self, request: QuotaRequest) -> list[str]:
        app_id, amount, account = self._app_ids[request.app], request.amount, request.account
        names = [keys.quota(app_id, amount)]
        if account is not None:
            names += [keys.quota_of_users(app_id, amount), keys.quota_of_account(app_id, amount, account)]
        return names
