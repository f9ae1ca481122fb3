"""How old keys are, and how long certificates are still good: those of files, and those that servers show."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from proxy.check_config.addresses import TIMEOUT_S
from proxy.check_config.finding import Finding
from proxy.settings import Settings
from proxy.usecases.ages import ends_in_files, keys_since, servers

_SOON = timedelta(days=30)


def inspect_ages(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Since when is each of Apple's keys in its place? When do certificates end, in files and at the services' hosts?

    Takes up to five seconds for each host that does not answer; it is passed over, for `ask_services` tells of it.
    """
    for setting, path, since in keys_since(settings):
        text = f"{path} is as it is since {since:%Y-%m-%d}, {(now - since).days} days; Apple's keys have no end"
        yield Finding("ok", setting, text, "whether it was revoked: above, where Apple was asked")
    for setting, path, ends in ends_in_files(settings):
        yield from (_good_until(setting, str(path), end, now) for end in ends)
    for server in servers(settings):
        if end := server.end(TIMEOUT_S):
            what = f"the TLS certificate of {server.host}:{server.port}"
            yield _good_until(server.setting, what, end, now)


def _good_until(place: str, what: str, end: datetime, now: datetime) -> Finding:
    left = end - now
    if left <= timedelta(0):
        return Finding("fault", place, f"{what} ended on {end:%Y-%m-%d}")
    return Finding(
        "warning" if left <= _SOON else "ok", place, f"{what} is good until {end:%Y-%m-%d}, {left.days} days"
    )
