"""What can be said without asking a service."""

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from proxy.auth.accounts_db import open_accounts
from proxy.channels.apns.provider_token import sign_provider_token
from proxy.check_config.finding import Finding
from proxy.errors import BadSettings
from proxy.settings import ApnsSettings, FileSecret, Section, Settings, StoreSettings


def inspect_files(settings: Settings) -> Iterator[Finding]:
    """Are the key files keys, is the accounts' database one of ours, can the spool's folder be written? Can others
    read what is secret? What will Xiaomi not deliver?
    """
    yield _spools(settings.store)
    if settings.auth.accounts is not None:
        yield _opens(settings.auth.accounts.database)
    for name, app in settings.apps.items():
        if app.apns is not None:
            yield from _sign(f"apps.{name}.apns", app.apns)
    yield from _open_to_others(settings)
    for name, app in settings.apps.items():
        if app.mipush is not None:
            for key, text in app.mipush.risks:
                yield Finding("warning", f"apps.{name}.mipush.{key}", text)


def _spools(store: StoreSettings) -> Finding:
    place, folder = "store.spool_dir", store.spool_dir
    if folder is None:
        return Finding(
            "warning",
            place,
            "off: while the store is away callbacks are answered 503, and MIMC gives one up after 5 min 35 s",
        )
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding("fault", place, f"{folder} cannot be made or written: look at {there}")
    return Finding(
        "ok",
        place,
        f"on: while the store is away callbacks are kept in {folder}, up to {store.spool_max_bytes} bytes and "
        f"{store.spool_max_age.total_seconds():g} s; what is lost with that folder was answered 200",
    )


def _opens(database: Path) -> Finding:
    place = "auth.accounts.database"
    if not database.exists():
        return Finding("warning", place, "there is no file yet; app-proxy users add makes it, and a first user in it")
    try:
        accounts = open_accounts(database)
    except BadSettings as error:
        return Finding("fault", place, error.faults[0].removeprefix(f"{place}: "))
    count = len(accounts.users())
    accounts.close()
    if count == 0:
        return Finding("warning", place, "there are no users yet; app-proxy users add makes one")
    return Finding("ok", place, f"{count} user{'s' if count > 1 else ''}")


def _sign(place: str, apns: ApnsSettings) -> Iterator[Finding]:
    yield _signs(f"{place}.key_file", apns.key_file, apns.key_id, apns.team_id)
    if apns.sandbox_key_file is not None and apns.sandbox_key_id is not None:
        yield _signs(f"{place}.sandbox_key_file", apns.sandbox_key_file, apns.sandbox_key_id, apns.team_id)


def _signs(place: str, key_file: Path, key_id: str, team_id: str) -> Finding:
    try:
        sign_provider_token(key_file.read_bytes(), key_id, team_id, datetime.now(UTC))
    except BadSettings:
        return Finding("fault", place, "no P-256 private key in PEM; it should be the .p8 file as Apple gave it")
    return Finding("ok", place, "a P-256 key that signs")


def _open_to_others(settings: Settings) -> Iterator[Finding]:
    """Files and folders of secrets, and of what people wrote, that more than their owner may read or write."""
    for place, path in sorted({*_secret_files(settings, ""), *_private_places(settings)}):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:  # not there yet, or said above
            continue
        if others := mode & 0o077:
            who = "everyone" if others & 0o007 else "its group"
            yield Finding(
                "warning", place, f"{path} is open to {who} (mode {mode:o}): chmod {700 if path.is_dir() else 600} it"
            )


def _private_places(settings: Settings) -> Iterator[tuple[str, Path]]:
    if settings.store.spool_dir is not None:
        yield "store.spool_dir", settings.store.spool_dir
    if settings.auth.accounts is not None:
        database = settings.auth.accounts.database
        for suffix in ("", "-wal", "-shm"):
            yield "auth.accounts.database", database.with_name(database.name + suffix)
    for name, app in settings.apps.items():
        for key in ("key_file", "sandbox_key_file") if app.apns is not None else ():
            if path := getattr(app.apns, key):
                yield f"apps.{name}.apns.{key}", path


def _secret_files(value: object, place: str) -> Iterator[tuple[str, Path]]:
    """Each secret within that was read from a file."""
    match value:
        case FileSecret(path=path):
            yield place, path
        case Section():
            for name, inner in value:
                yield from _secret_files(inner, f"{place}.{name}".removeprefix("."))
        case dict():
            for name, inner in value.items():
                yield from _secret_files(inner, f"{place}.{name}")
        case tuple() | list():
            for inner in value:
                yield from _secret_files(inner, place)
