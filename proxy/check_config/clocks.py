"""Do the clocks agree: this machine's, the store's, those of services that name the time, those of all processes?"""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from proxy.check_config.addresses import TIMEOUT_S, host_of
from proxy.check_config.finding import Finding
from proxy.check_config.services import get
from proxy.domain.times import TOLERATED_SKEW
from proxy.errors import StoreUnavailable
from proxy.settings import Settings
from proxy.store.connection import Store
from proxy.store.server.clocks import StoreClock, clock_details
from proxy.usecases.monitor_clock import skew_of


def ask_clocks(settings: Settings) -> Iterator[Finding]:
    """What does not answer is passed over, for `ask_services` tells of it. Apple's answers name no time."""
    store, clock = Store(settings.store.url.get_secret_value(), timeout_s=TIMEOUT_S), StoreClock()
    ours = "this machine's clock is"
    try:
        store.call(clock.measure_with)
        ours = "the store's clock is"
        yield _compared("clock", "this machine's clock is", -clock.offset, "the store's")
        for whose, text in store.call(partial(clock_details, now=clock.now())).items():
            yield Finding("warning", whose, text)
    except StoreUnavailable:
        pass
    asked = set[str]()
    for name, app in settings.apps.items():
        for place, its in ((f"apps.{name}", app), (f"apps.{name}.mipush", app.mipush)):
            if its is None or its.base_url in asked:
                continue
            asked.add(its.base_url)
            answer = get(place, its.base_url, its.ca_file, its.proxy)
            skew = None if isinstance(answer, Finding) else skew_of(answer.headers.get("date"), clock.now())
            if skew is not None:
                yield _compared(f"{place}.base_url", ours, skew, host_of(its.base_url))


def _compared(place: str, whose: str, ahead: timedelta, than: str) -> Finding:
    seconds = abs(ahead).total_seconds()
    text = f"{whose} {seconds:.1f} s {'ahead of' if ahead > timedelta(0) else 'behind'} {than}"
    return Finding("ok" if abs(ahead) <= TOLERATED_SKEW else "fault", place, text)
