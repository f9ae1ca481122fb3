"""How old keys are, and how long certificates are still good: those of files, and those that servers show."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from proxy.certificates import end_at_server, ends_in_file
from proxy.check_config.addresses import TIMEOUT_S, host_of
from proxy.check_config.finding import Finding
from proxy.settings import Section, Settings

_SOON = timedelta(days=30)


def inspect_ages(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Since when is each of Apple's keys in its place? When do certificates end, in files and at the services' hosts?

    Takes up to five seconds for each host that does not answer; it is passed over, for `ask_services` tells of it.
    """
    for name, app in settings.apps.items():
        for key in ("key_file", "sandbox_key_file") if app.apns is not None else ():
            if path := getattr(app.apns, key):
                yield from _since(f"apps.{name}.apns.{key}", path, now)
    for place, path in sorted({*_certificate_files(settings, "")}):
        try:
            ends = ends_in_file(path)
        except OSError:  # check-config tells of it
            continue
        yield from (_good_until(place, str(path), end, now) for end in ends)
    asked = set[str]()
    for place, url, ca_file in _servers(settings, ""):
        if host_of(url) not in asked:
            asked.add(host_of(url))
            yield from _shown(place, url, ca_file, now)


def _since(place: str, path: Path, now: datetime) -> Iterator[Finding]:
    try:
        since = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return
    text = f"{path} is as it is since {since:%Y-%m-%d}, {(now - since).days} days; Apple's keys have no end"
    yield Finding("ok", place, text, "whether it was revoked: above, where Apple was asked")


def _shown(place: str, url: str, ca_file: Path | None, now: datetime) -> Iterator[Finding]:
    address = urlsplit(url)
    try:
        end = end_at_server(address.hostname or "", address.port or 443, ca_file, TIMEOUT_S)
    except (OSError, ValueError):
        return
    yield _good_until(place, f"the TLS certificate of {host_of(url)}", end, now)


def _good_until(place: str, what: str, end: datetime, now: datetime) -> Finding:
    left = end - now
    if left <= timedelta(0):
        return Finding("fault", place, f"{what} ended on {end:%Y-%m-%d}")
    return Finding(
        "warning" if left <= _SOON else "ok", place, f"{what} is good until {end:%Y-%m-%d}, {left.days} days"
    )


def _certificate_files(section: Section, place: str) -> Iterator[tuple[str, Path]]:
    for where, value in _values(section, place):
        if where.rpartition(".")[2] in {"ca_file", "public_key_file", "public_key_files"}:
            yield from ((where, path) for path in (value if isinstance(value, tuple) else (value,)) if path)


def _servers(section: Section, place: str) -> Iterator[tuple[str, str, Path | None]]:
    """Place, address and authorities of each server that is asked over TLS, but through a proxy."""
    for where, inner in _sections(section, place):
        for key, value in inner:
            url = value.get_secret_value() if isinstance(value, SecretStr) else value
            is_asked = (key == "url" or key.endswith("_url")) and not getattr(inner, "proxy", None)
            if is_asked and isinstance(url, str) and url.startswith("https://"):
                yield f"{where}.{key}", url, getattr(inner, "ca_file", None)


def _values(section: Section, place: str) -> Iterator[tuple[str, object]]:
    for where, inner in _sections(section, place):
        yield from ((f"{where}.{key}".removeprefix("."), value) for key, value in inner)


def _sections(value: object, place: str) -> Iterator[tuple[str, Section]]:
    """This section and all within it, each with its place in the settings."""
    match value:
        case Section():
            yield place, value
            for name, inner in value:
                yield from _sections(inner, f"{place}.{name}".removeprefix("."))
        case dict():
            for name, inner in value.items():
                yield from _sections(inner, f"{place}.{name}")
        case tuple():
            for number, inner in enumerate(value):
                yield from _sections(inner, f"{place}.{number}")
