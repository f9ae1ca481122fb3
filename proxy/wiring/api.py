"""MIMC's API behind this service, for the web process. Loaded where a section's `api` lists a family of calls."""

from proxy.mimc.api import MimcApi
from proxy.mimc.client import limits_of
from proxy.mimc.passable import Passable
from proxy.mimc.user_tokens import UserTokens
from proxy.ports import TokenService
from proxy.settings import Settings
from proxy.usecases.guarded_mimc import MimcGuard


def mimc_api(settings: Settings, passable: Passable, tokens: TokenService, guard: MimcGuard) -> MimcApi:
    """`tokens` and `guard` are those of the token calls: a MIMC that gives no answers pauses both."""
    return MimcApi(settings.apps, limits_of(settings.token), passable, UserTokens(tokens), guard)
