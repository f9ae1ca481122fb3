"""How old the settings' keys are, and until when their certificates are good: those of files, and those of servers."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from proxy.certificates import end_at_server, ends_in_file
from proxy.settings import Section, Settings


@dataclass(frozen=True)
class Shown:
    """A server that shows a certificate; `setting` names the first that leads to it."""

    setting: str
    host: str
    port: int
    ca_file: Path | None

    def end(self, timeout_s: float) -> datetime | None:
        """None: it does not answer, or is not trusted."""
        try:
            return end_at_server(self.host, self.port, self.ca_file, timeout_s)
        except (OSError, ValueError):
            return None


def keys_since(settings: Settings) -> Iterator[tuple[str, Path, datetime]]:
    """Setting, file, and since when it is as it is: Apple's keys, which have no end."""
    for name, app in settings.apps.items():
        for key in ("key_file", "sandbox_key_file") if app.apns is not None else ():
            if path := getattr(app.apns, key):
                try:
                    yield f"apps.{name}.apns.{key}", path, datetime.fromtimestamp(path.stat().st_mtime, UTC)
                except OSError:  # check-config tells of it
                    continue


def ends_in_files(settings: Settings) -> Iterator[tuple[str, Path, list[datetime]]]:
    """Setting, file, and when each certificate in it ends."""
    for setting, path in sorted({*_certificate_files(settings, "")}):
        try:
            yield setting, path, ends_in_file(path)
        except OSError:  # as above
            continue


def servers(settings: Settings) -> Iterator[Shown]:
    """Each host and port that is asked over TLS, once; not through a proxy, but https:// proxies themselves."""
    asked = set[tuple[str, int]]()
    for setting, url, ca_file in _servers(settings, ""):
        address = urlsplit(url)
        place = address.hostname or "", address.port or 443
        if place not in asked:
            asked.add(place)
            yield Shown(setting, *place, ca_file)


def _certificate_files(section: Section, place: str) -> Iterator[tuple[str, Path]]:
    for where, value in _values(section, place):
        if where.rpartition(".")[2] in {"ca_file", "public_key_file", "public_key_files"}:
            yield from ((where, path) for path in (value if isinstance(value, tuple) else (value,)) if path)


def _servers(section: Section, place: str) -> Iterator[tuple[str, str, Path | None]]:
    """Setting, address and authorities."""
    for where, inner in _sections(section, place):
        through = getattr(inner, "proxy", None)
        for key, value in inner:
            url = value.get_secret_value() if isinstance(value, SecretStr) else value
            is_asked = key == "proxy" or ((key == "url" or key.endswith("_url")) and not through)
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
