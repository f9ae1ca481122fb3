"""What only the services can tell. Each is asked as it is in service."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import requests

from proxy.auth.jwt_keys import jwks_keys
from proxy.check_config.addresses import TIMEOUT_S, host_of
from proxy.check_config.apns import ask_apns
from proxy.check_config.finding import Finding
from proxy.check_config.http import ask_http, ask_profiles, ask_webhook
from proxy.check_config.tokens import ask_for_token
from proxy.errors import StoreUnavailable
from proxy.settings import AppSettings, JwtSettings, MipushSettings, Settings
from proxy.store.connection import Store
from proxy.store.server.clocks import StoreClock
from proxy.store.server.policy import (
    eviction_fault,
    persistence_risk,
    read_persistence,
    read_policy,
    read_version,
    replicas_fault,
    version_numbers,
)

_OLDEST_REDIS = (6, 2)
_WRONG_SECRET = {21301, 21302}
_GOOD_SECRET = {0, 10027, 10038, 10039}  # read, or refused for what is no fault of the secret


def ask_services(settings: Settings, account: str = "") -> Iterator[Finding]:
    """Ask every service that the settings name. Takes up to five seconds for each that does not answer.

    `account`: ask MIMC for its token, whatever account an app's `check_account` names.
    """
    store, clock = Store(settings.store.url.get_secret_value(), timeout_s=TIMEOUT_S), StoreClock()
    yield from _ask_store(store, clock, settings.store.replicas)
    for name, issuer in settings.auth.jwt.items():
        if issuer.jwks_url:
            yield _ask_issuer(f"auth.jwt.{name}.jwks_url", issuer.jwks_url, issuer)
    asked = set[tuple[str, ...]]()
    for name, app in settings.apps.items():
        if _is_new(asked, app.base_url, app.proxy or ""):
            yield _ask_mimc(f"apps.{name}.base_url", app.base_url, app.ca_file, app.proxy)
        if _is_new(asked, app.base_url, app.proxy or "", app.app_id, account or app.check_account):
            yield ask_for_token(name, app, account or app.check_account)
        yield from _ask_channels(f"apps.{name}", app, store, clock)
    for number, webhook in enumerate(settings.webhooks):
        yield ask_webhook(f"webhooks.{number}", webhook, clock.now())


def ask_app(settings: Settings, name: str) -> Iterator[Finding]:
    """The same of one section alone. Where the store does not answer, times are this machine's."""
    app, clock = settings.apps[name], StoreClock()
    store = Store(settings.store.url.get_secret_value(), timeout_s=TIMEOUT_S)
    with suppress(StoreUnavailable):
        store.call(clock.measure_with)
    yield _ask_mimc(f"apps.{name}.base_url", app.base_url, app.ca_file, app.proxy)
    yield ask_for_token(name, app, app.check_account)
    yield from _ask_channels(f"apps.{name}", app, store, clock)


def _ask_channels(place: str, app: AppSettings, store: Store, clock: StoreClock) -> Iterator[Finding]:
    if app.apns is not None:
        yield from ask_apns(f"{place}.apns", app.apns, store, clock.now)
    if app.mipush is not None:
        yield _ask_mipush(f"{place}.mipush.app_secret", app.mipush)
    if app.http is not None:
        yield ask_http(f"{place}.http", app.http, clock.now())
    if app.profiles is not None:
        yield ask_profiles(f"{place}.profiles", app.profiles, clock.now())


def _is_new(asked: set[tuple[str, ...]], *question: str) -> bool:
    is_new = question not in asked
    asked.add(question)
    return is_new


def _ask_issuer(place: str, url: str, issuer: JwtSettings) -> Finding:
    answer = get(place, url, issuer.ca_file, None)
    if isinstance(answer, Finding):
        return answer
    if answer.status_code != 200:
        return Finding("fault", place, f"{host_of(url)} answers HTTP {answer.status_code}, not with a JWK set")
    try:
        keys = jwks_keys(answer.json(), issuer.algorithms).keys
    except (ValueError, RecursionError):
        return Finding("fault", place, f"{host_of(url)} answers with something that is no JWK set")
    algorithms = ", ".join(sorted({name for key in keys for name in key.algorithms}))
    if not keys:
        return Finding("fault", place, f"{host_of(url)} has no key there that algorithms allows")
    return Finding("ok", place, f"{host_of(url)} has {len(keys)} keys for {algorithms}", "a token of its own")


def _ask_mimc(place: str, url: str, ca_file: Path | None, proxy: str | None) -> Finding:
    answer = get(place, url, ca_file, proxy)
    return answer if isinstance(answer, Finding) else Finding("ok", place, f"{host_of(url)} answers")


def _ask_mipush(place: str, mipush: MipushSettings) -> Finding:
    secret = mipush.app_secret.get_secret_value()
    url = f"{mipush.base_url}/v1/trace/quota/get"
    answer = get(place, url, mipush.ca_file, mipush.proxy, {"Authorization": f"key={secret}"})
    if isinstance(answer, Finding):
        return answer
    match _code(answer):
        case code if code in _WRONG_SECRET:
            return Finding("fault", place, "Xiaomi refuses it; it takes the AppSecret, not the AppKey")
        case code if code in _GOOD_SECRET:
            untried = "package, channel_id and templates: only a push would tell"
            return Finding("ok", place, f"{host_of(url)} accepts it", untried)
        case None:
            return Finding(
                "warning", place, f"{host_of(url)} gave an answer of no known form, HTTP {answer.status_code}"
            )
        case code:
            return Finding(
                "warning", place, f"{host_of(url)} answered code {code}, which does not tell whether it is good"
            )


def _code(answer: requests.Response) -> int | None:
    try:
        body = answer.json()
    except requests.JSONDecodeError:
        return None
    code = body.get("code") if isinstance(body, dict) else None
    return code if isinstance(code, int) else None


def get(
    place: str, url: str, ca_file: Path | None, proxy: str | None, headers: dict[str, str] | None = None
) -> requests.Response | Finding:
    """The answer, of whatever status, or why there is none."""
    with requests.Session() as session:
        session.trust_env = False  # as in service: only the settings say which proxy and which authorities
        session.proxies = {"http": proxy, "https": proxy} if proxy else {}
        session.verify = str(ca_file) if ca_file else True
        try:
            return session.get(url, headers=headers, timeout=TIMEOUT_S, allow_redirects=False)
        except requests.exceptions.SSLError:
            return Finding(
                "fault", place, f"the TLS certificate of {host_of(url)} is not trusted; ca_file names authorities"
            )
        except (requests.RequestException, OSError) as error:
            return Finding("fault", place, f"no answer from {host_of(url)}: {type(error).__name__}")


def _ask_store(store: Store, clock: StoreClock, replicas: int) -> Iterator[Finding]:
    try:
        version = store.call(read_version)
        policy, persistence = store.call(read_policy), store.call(read_persistence)
        lag = store.call(partial(replicas_fault, replicas))
        store.call(clock.measure_with)
    except StoreUnavailable as error:
        yield Finding("fault", "store.url", f"{error} ({error.at})")
        return
    yield _version(store.server_at(), version)
    yield from _risks(persistence, policy)
    if lag:
        yield Finding("fault", "store.replicas", lag)


def _version(at: str, version: str | None) -> Finding:
    if version is None:
        return Finding("ok", "store.url", f"{at} answers; its version is not shown, it must be 6.2 or newer", "a write")
    if version_numbers(version) < _OLDEST_REDIS:
        return Finding("fault", "store.url", f"{at} is of version {version or 'unknown'}; it takes 6.2 or newer")
    return Finding("ok", "store.url", f"{at} answers, compatible with Redis {version}", "a write")


def _risks(persistence: tuple[bool | None, str | None], policy: str | None) -> Iterator[Finding]:
    if risk := persistence_risk(*persistence):
        yield Finding("warning", "store.url", risk)
    if fault := eviction_fault(policy):
        yield Finding("fault", "store.url", fault)
    elif policy is None:
        yield Finding("warning", "store.url", "maxmemory-policy is not shown; it must be noeviction")
