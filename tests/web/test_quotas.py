"""Where MIMC's quota is used up, the client is told when to come back, and MIMC is not asked."""

import pytest

from proxy.domain.quotas import Amount, Holder, QuotaRequest, QuotaSpent
from proxy.errors import StoreUnavailable
from proxy.web import current_notes
from proxy.web.envelope import HttpRefusal
from proxy.web.limits import take_quota
from tests.web.test_limits import counted, metrics_of
from tests.web.world import World, app_section, settings

SPENT = 'app_proxy_rate_limited_total{by="account",route="personal quota"}'
AWAY = 'app_proxy_rate_limiter_unavailable_total{route="personal quota"}'


def take(world: World, number: int = 3, account: str | None = "ann") -> dict[str, object]:
    """What the line of the request says of it."""
    with world.app.test_request_context():
        current_notes().facts = {}
        take_quota(QuotaRequest("main", Amount.PERSONAL, number, account))
        facts: dict[str, object] = current_notes().facts
        return facts


def world() -> World:
    return World(settings({"main": app_section(api=["push"])}))


def test_what_is_sent_counts_for_its_app_and_account() -> None:
    place = world()
    assert take(place) == take(place, account=None) == {}
    assert place.quotas.taken == [QuotaRequest("main", Amount.PERSONAL, 3, who) for who in ("ann", None)]


@pytest.mark.parametrize(
    ("holder", "whose"),
    [(Holder.APP, "this app"), (Holder.USERS, "this app's users"), (Holder.ACCOUNT, "this account")],
)
@pytest.mark.parametrize(("wait_ms", "told"), [(1, "1"), (1001, "1"), (2020, "3")])
def test_a_share_that_is_used_up_is_answered_429_with_the_time_to_wait(
    holder: Holder, whose: str, wait_ms: int, told: str
) -> None:
    place = world()
    before = counted(metrics_of(place), SPENT)
    place.quotas.answer = QuotaSpent(Amount.PERSONAL, holder, wait_ms)
    with pytest.raises(HttpRefusal, match=f"the share of {whose} in MIMC's quota is used up") as refused:
        take(place)
    assert (refused.value.status, refused.value.headers) == (
        429,
        {"Retry-After": told},
    )
    assert counted(metrics_of(place), SPENT) == before + (holder is Holder.ACCOUNT)


def test_without_the_counters_mimc_itself_must_do_which_is_counted() -> None:
    place = world()
    before = counted(metrics_of(place), AWAY)
    place.quotas.answer = StoreUnavailable("the store did not answer")
    assert take(place) == {"limiter": "unavailable"}
    assert counted(metrics_of(place), AWAY) == before + 1
