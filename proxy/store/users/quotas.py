"""The quotas of each app at MIMC, shared by all processes: one round trip for each call that counts."""

from collections.abc import Mapping
from datetime import datetime

from proxy.domain.quotas import Amount, Holder, Quota, QuotaSpent
from proxy.domain.times import MS, to_ms
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.scripts import Argument, script

_HOLDERS = (Holder.APP, Holder.USERS, Holder.ACCOUNT)


class RedisQuotas:
    """Implements ports.Quotas. `app_ids` maps a section's name to its appId; an amount without a quota is not limited.

    `store` is the server of the counters, where they have one of their own.
    """

    def __init__(self, store: Store, app_ids: Mapping[str, str], quotas: Mapping[Amount, Quota]) -> None:
        self._store, self._app_ids, self._quotas = store, app_ids, quotas

    def take(self, app: str, amount: Amount, number: int, account: str | None, now: datetime) -> QuotaSpent | None:
        quota = self._quotas.get(amount)
        if quota is None or number < 1:
            return None
        app_id, shares = self._app_ids[app], [quota.most]
        names = [keys.quota(app_id, amount)]
        if account is not None:
            names += [keys.quota_of_users(app_id, amount), keys.quota_of_account(app_id, amount, account)]
            shares += [quota.of_users, quota.of_account]
        args: list[Argument] = [to_ms(now), quota.span // MS, number, *shares]
        which, *wait_ms = self._store.call(lambda redis: script("take_quota").run(redis, names, args))
        return QuotaSpent(_HOLDERS[which - 1], wait_ms[0]) if which else None
