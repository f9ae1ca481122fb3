"""MIMC's API behind this service, for the web process. Loaded where a section's `api` lists a family of calls."""

from proxy.domain.quotas import Amount, Quota
from proxy.mimc.api import MimcApi
from proxy.mimc.client import limits_of
from proxy.mimc.passable import Passable
from proxy.mimc.user_tokens import UserTokens
from proxy.ports import TokenService
from proxy.settings import Settings
from proxy.settings.fields import read_rate
from proxy.store.connection import Store
from proxy.store.users.quotas import RedisQuotas
from proxy.usecases.guarded_mimc import MimcGuard
from proxy.wiring.common import app_ids_of


def mimc_api(settings: Settings, passable: Passable, tokens: TokenService, guard: MimcGuard) -> MimcApi:
    """`tokens` and `guard` are those of the token calls: a MIMC that gives no answers pauses both."""
    return MimcApi(settings.apps, limits_of(settings.token), passable, UserTokens(tokens), guard)


def quotas_at_mimc(settings: Settings, counters: Store) -> RedisQuotas:
    its = settings.limits
    said = {
        Amount.PERSONAL: its.personal_per_app,
        Amount.GROUP: its.group_per_app,
        Amount.UNLIMITED_GROUP: its.unlimited_group_per_app,
    }
    read = {amount: read_rate(text) for amount, text in said.items()}
    return RedisQuotas(counters, app_ids_of(settings), {amount: Quota(*it) for amount, it in read.items() if it})
