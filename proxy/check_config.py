"""Would these settings work? Asks the store, the issuers of JWTs, MIMC, Apple and Xiaomi.

It changes nothing and sends no push. MIMC gets no credentials: a token call would create its user there. Xiaomi gets
the AppSecret, on a route that only reads. The findings hold no secret and no address but those of the settings.
"""

import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import requests

from proxy.auth.accounts_db import open_accounts
from proxy.auth.jwt_keys import jwks_keys
from proxy.channels.apns.provider_token import sign_provider_token
from proxy.errors import BadSettings, StoreUnavailable
from proxy.settings import ApnsSettings, JwtSettings, MipushSettings, Settings, StoreSettings
from proxy.store.connection import Store
from proxy.store.server.policy import eviction_fault, persistence_risk, read_persistence

_TIMEOUT_S = 5.0
_OLDEST_REDIS = (6, 2)
_WRONG_SECRET = {21301, 21302}
_GOOD_SECRET = {0, 10027, 10038, 10039}  # read, or refused for what is no fault of the secret


@dataclass(frozen=True)
class Finding:
    """What was seen at one place of the settings. A warning works, with a risk; a fault does not."""

    verdict: Literal["ok", "warning", "fault"]
    place: str
    text: str


def inspect_files(settings: Settings) -> Iterator[Finding]:
    """What can be said without asking a service: are the key files keys, the accounts' database one of ours, can the
    spool's folder be written?
    """
    yield _spools(settings.store)
    if settings.auth.accounts is not None:
        yield _opens(settings.auth.accounts.database)
    for name, app in settings.apps.items():
        if app.apns is not None:
            yield from _sign(f"apps.{name}.apns", app.apns)


def ask_services(settings: Settings) -> Iterator[Finding]:
    """Ask every service that the settings name. Takes up to five seconds for each that does not answer."""
    yield from _ask_store(settings.store)
    for name, issuer in settings.auth.jwt.items():
        if issuer.jwks_url:
            yield _ask_issuer(f"auth.jwt.{name}.jwks_url", issuer.jwks_url, issuer)
    asked: set[tuple[str, str | None]] = set()
    for name, app in settings.apps.items():
        place = f"apps.{name}"
        if (app.base_url, app.proxy) not in asked:
            asked.add((app.base_url, app.proxy))
            yield _ask_mimc(f"{place}.base_url", app.base_url, app.ca_file, app.proxy)
        if app.apns is not None:
            yield from _ask_apns(f"{place}.apns", app.apns)
        if app.mipush is not None:
            yield _ask_mipush(f"{place}.mipush.app_secret", app.mipush)


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


def _ask_issuer(place: str, url: str, issuer: JwtSettings) -> Finding:
    answer = _get(place, url, issuer.ca_file, None)
    if isinstance(answer, Finding):
        return answer
    if answer.status_code != 200:
        return Finding("fault", place, f"{_host(url)} answers HTTP {answer.status_code}, not with a JWK set")
    try:
        keys = jwks_keys(answer.json(), issuer.algorithms).keys
    except (ValueError, RecursionError):
        return Finding("fault", place, f"{_host(url)} answers with something that is no JWK set")
    algorithms = ", ".join(sorted({name for key in keys for name in key.algorithms}))
    if not keys:
        return Finding("fault", place, f"{_host(url)} has no key there that algorithms allows")
    return Finding("ok", place, f"{_host(url)} has {len(keys)} keys for {algorithms}")


def _ask_mimc(place: str, url: str, ca_file: Path | None, proxy: str | None) -> Finding:
    answer = _get(place, url, ca_file, proxy)
    return answer if isinstance(answer, Finding) else Finding("ok", place, f"{_host(url)} answers")


def _ask_mipush(place: str, mipush: MipushSettings) -> Finding:
    secret = mipush.app_secret.get_secret_value()
    url = f"{mipush.base_url}/v1/trace/quota/get"
    answer = _get(place, url, mipush.ca_file, mipush.proxy, {"Authorization": f"key={secret}"})
    if isinstance(answer, Finding):
        return answer
    match _code(answer):
        case code if code in _WRONG_SECRET:
            return Finding("fault", place, "Xiaomi refuses it; it takes the AppSecret, not the AppKey")
        case code if code in _GOOD_SECRET:
            return Finding("ok", place, f"{_host(url)} accepts it")
        case None:
            return Finding("warning", place, f"{_host(url)} gave an answer of no known form, HTTP {answer.status_code}")
        case code:
            return Finding(
                "warning", place, f"{_host(url)} answered code {code}, which does not tell whether it is good"
            )


def _code(answer: requests.Response) -> int | None:
    try:
        body = answer.json()
    except requests.JSONDecodeError:
        return None
    code = body.get("code") if isinstance(body, dict) else None
    return code if isinstance(code, int) else None


def _get(
    place: str, url: str, ca_file: Path | None, proxy: str | None, headers: dict[str, str] | None = None
) -> requests.Response | Finding:
    with requests.Session() as session:
        session.trust_env = False  # as in service: only the settings say which proxy and which authorities
        session.proxies = {"http": proxy, "https": proxy} if proxy else {}
        session.verify = str(ca_file) if ca_file else True
        try:
            return session.get(url, headers=headers, timeout=_TIMEOUT_S, allow_redirects=False)
        except requests.exceptions.SSLError:
            return Finding(
                "fault", place, f"the TLS certificate of {_host(url)} is not trusted; ca_file names authorities"
            )
        except (requests.RequestException, OSError) as error:
            return Finding("fault", place, f"no answer from {_host(url)}: {type(error).__name__}")


def _ask_apns(place: str, apns: ApnsSettings) -> Iterator[Finding]:
    for key in ("production_url", "sandbox_url") if apns.sandbox else ("production_url",):
        url: str = getattr(apns, key)
        if apns.proxy is not None:
            yield Finding("warning", f"{place}.{key}", f"{_host(url)} not asked: it is reached through a proxy")
        else:
            yield _shake_hands(f"{place}.{key}", url, apns.ca_file)


def _shake_hands(place: str, url: str, ca_file: Path | None) -> Finding:
    address = urlsplit(url)
    try:
        context = ssl.create_default_context(cafile=ca_file)
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection((address.hostname, address.port or 443), timeout=_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=address.hostname) as tls,
        ):
            chosen = tls.selected_alpn_protocol()
    except ssl.SSLCertVerificationError:
        return Finding("fault", place, f"the TLS certificate of {_host(url)} is not trusted; ca_file names authorities")
    except (OSError, ValueError) as error:
        return Finding("fault", place, f"no TLS connection to {_host(url)}: {type(error).__name__}")
    if chosen != "h2":
        return Finding("fault", place, f"{_host(url)} does not speak HTTP/2")
    return Finding("ok", place, f"{_host(url)} answers with a certificate that is trusted")


def _host(url: str) -> str:
    address = urlsplit(url)
    return f"{address.hostname}:{address.port}" if address.port else str(address.hostname)


def _ask_store(settings: StoreSettings) -> Iterator[Finding]:
    store = Store(settings.url.get_secret_value(), timeout_s=_TIMEOUT_S)
    try:
        facts: dict[str, Any] = store.call(lambda redis: redis.info())
        persistence = store.call(read_persistence)
    except StoreUnavailable as error:
        yield Finding("fault", "store.url", f"{error} ({error.at})")
        return
    yield _version(str(facts.get("redis_version", "")))
    yield from _risks(persistence, facts.get("maxmemory_policy"))


def _version(version: str) -> Finding:
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < _OLDEST_REDIS:
        return Finding("fault", "store.url", f"the store is of version {version or 'unknown'}; it takes 6.2 or newer")
    return Finding("ok", "store.url", f"the store answers, compatible with Redis {version}")


def _risks(persistence: tuple[bool | None, str | None], policy: str | None) -> Iterator[Finding]:
    if risk := persistence_risk(*persistence):
        yield Finding("warning", "store.url", risk)
    if fault := eviction_fault(policy):
        yield Finding("fault", "store.url", fault)
    elif policy is None:
        yield Finding("warning", "store.url", "maxmemory-policy is not shown; it must be noeviction")
