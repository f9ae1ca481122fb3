"""The whole service on this machine: which processes there are, in which order, and what each is given.

In a demo the emulators stand in for MIMC, Apple, Xiaomi and a sender of the developer's own; the keys, made at the
first start, lie in the state folder and open nothing else. With a configuration of the operator's own only store, web
and worker are started.
"""

import json
import os
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.errors import ProxyError, StoreUnavailable
from proxy.files import replace_file, take_lock
from proxy.local.ports import free_port, port_taken
from proxy.local.supervisor import Announced, Child, Supervisor
from proxy.package_data import LOCAL_CONFIG
from proxy.settings import GRACE, RelaySettings, Settings
from proxy.store.connection import Store
from proxy.store.server.embedded import answers, store_command, store_url

APP = "demo"
_HOST = "127.0.0.1"
_TO_END = timedelta(seconds=5)
_READY_S = 10.0
_ANNOUNCED = r'(\{"emulator".*\})'
_PORTS = {
    "web": 8080,
    "operator": 9464,
    "worker": 9465,
    "mimc": 8601,
    "apns": 8602,
    "apns_control": 8604,
    "mipush": 8603,
    "sender": 8605,
}


class StoreAway(ProxyError):
    """The store that the environment names cannot be used."""


@dataclass(frozen=True)
class Ports:
    """Where everything listens, all on 127.0.0.1."""

    web: int
    operator: int
    worker: int
    mimc: int
    apns: int
    apns_control: int
    mipush: int
    sender: int


@dataclass(frozen=True)
class DemoEnvironment:
    """A service on emulators: its state folder, its ports, and the secrets made for it."""

    state: Path
    ports: Ports
    jwt_key: str = field(repr=False)
    url_secret: str = field(repr=False)
    store: str = field(repr=False)

    @property
    def web(self) -> str:
        return f"http://{_HOST}:{self.ports.web}"

    @property
    def phones_page(self) -> str:
        return f"http://{_HOST}:{self.ports.operator}/console/phones"

    @property
    def callback_url(self) -> str:
        return f"{self.web}/callbacks/mimc/{self.url_secret}"

    def variables(self) -> dict[str, str]:
        """The environment that turns config/local.toml into this demo."""
        app, ports = f"APP_PROXY_APPS__{APP.upper()}", self.ports
        apns = f"https://{_HOST}:{ports.apns}"
        return {
            "APP_PROXY_CONFIG": str(LOCAL_CONFIG.resolve()),
            "APP_PROXY_STORE__URL": self.store,
            "APP_PROXY_STORE__SPOOL_DIR": str(_spool(self.state)),
            "APP_PROXY_AUTH__JWT__TRIAL__SECRET": self.jwt_key,
            "APP_PROXY_SERVER__BIND": f"{_HOST}:{ports.web}",
            "APP_PROXY_SERVER__OPERATOR_BIND": f"{_HOST}:{ports.operator}",
            "APP_PROXY_RELAY__OPERATOR_BIND": f"{_HOST}:{ports.worker}",
            "APP_PROXY_CONSOLE__EMULATORS__MIMC": f"http://{_HOST}:{ports.mimc}",
            "APP_PROXY_CONSOLE__EMULATORS__APNS": f"http://{_HOST}:{ports.apns_control}",
            "APP_PROXY_CONSOLE__EMULATORS__MIPUSH": f"http://{_HOST}:{ports.mipush}",
            "APP_PROXY_CONSOLE__EMULATORS__HTTP": f"http://{_HOST}:{ports.sender}",
            f"{app}__URL_SECRET": self.url_secret,
            f"{app}__BASE_URL": f"http://{_HOST}:{ports.mimc}",
            f"{app}__APNS__KEY_FILE": str(_key_file(self.state)),
            f"{app}__APNS__CA_FILE": str((self.state / "certificates" / "emulator-ca.pem").absolute()),
            f"{app}__APNS__PRODUCTION_URL": apns,
            f"{app}__APNS__SANDBOX_URL": apns,
            f"{app}__MIPUSH__BASE_URL": f"http://{_HOST}:{ports.mipush}",
            f"{app}__HTTP__URL": f"http://{_HOST}:{ports.sender}/alerts",
        }


def prepare_demo(state: Path, port: int | None) -> DemoEnvironment:
    """Choose ports and make the secrets that are missing. A usual port that is taken gives way to a free one."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = _secrets(state / "secrets.json")
    _make_key(_key_file(state))
    usual = _claim_usual_ports()
    environment = DemoEnvironment(
        state,
        Ports(**{name: port if port and name == "web" else _port(name, usual=usual) for name in _PORTS}),
        made["jwt_key"],
        made["url_secret"],
        os.environ.get("REDIS_URL") or store_url(state / "store"),
    )
    _write_environment(state, environment.variables())
    return environment


def start_demo(supervisor: Supervisor, environment: DemoEnvironment) -> None:
    """Everything runs and is ready when this returns. Raises ChildFailed."""
    _start_store(supervisor, environment.state)
    ports, emulators = environment.ports, list[Child]()
    for name, options in (
        ("mimc", ["--port", str(ports.mimc), "--callback-url", environment.callback_url]),
        ("apns", ["--port", str(ports.apns), "--control-port", str(ports.apns_control)]),
        ("mipush", ["--port", str(ports.mipush)]),
        ("http", ["--port", str(ports.sender)]),
    ):
        argv = [*_app_proxy(), "emulate", name, "--state", str(environment.state.absolute()), *options]
        emulators.append(Child(f"emulated-{name}", argv, ready=Announced(_ANNOUNCED)))
    supervisor.start_together(emulators)
    web, worker = f"{_HOST}:{ports.operator}", f"{_HOST}:{ports.worker}"
    _start_service(supervisor, environment.variables(), web, worker, RelaySettings().drain)


def start_own(supervisor: Supervisor, state: Path, config: Path, settings: Settings, *, embedded: bool) -> None:
    """Store (unless the configuration names one), web and worker with the operator's own configuration."""
    variables = {"APP_PROXY_CONFIG": str(config.resolve())}
    if embedded:
        variables["APP_PROXY_STORE__URL"] = _start_store(supervisor, state)
        if (
            settings.store.spool_dir in (None, _spool(state))
            and settings.relay.dedupe_margin >= settings.store.spool_max_age
        ):
            variables["APP_PROXY_STORE__SPOOL_DIR"] = str(_spool(state))
    _write_environment(state, variables)
    relay = settings.relay
    _start_service(supervisor, variables, settings.server.operator_bind, relay.operator_bind, relay.drain)


def _write_environment(state: Path, variables: Mapping[str, str]) -> None:
    """For shells whose commands are to meet the same store, with the same settings."""
    exports = "".join(f"export {name}='{value}'\n" for name, value in variables.items())
    replace_file(state / "env", exports.encode())


def _start_store(supervisor: Supervisor, state: Path) -> str:
    if url := os.environ.get("REDIS_URL"):
        try:
            Store(url).call(lambda redis: redis.ping())
        except (StoreUnavailable, ValueError) as error:
            raise StoreAway("the store that REDIS_URL names does not answer: start it, or unset REDIS_URL") from error
        return url
    folder = state / "store"
    url = store_url(folder)
    supervisor.start(Child("store", store_command(folder), ready=lambda: answers(folder)))
    return url


def _start_service(
    supervisor: Supervisor, variables: Mapping[str, str], web: str, worker: str, drain: timedelta
) -> None:
    """Both get the time to end what is under way that they give themselves, and a little."""
    serve, grace = [*_app_proxy(), "web"], GRACE + _TO_END
    supervisor.start(Child("web", serve, ready=lambda: _is_up(f"http://{web}/healthz"), env=variables, grace=grace))
    relay, grace = [*_app_proxy(), "worker"], drain + _TO_END
    supervisor.start(
        Child("worker", relay, ready=lambda: _is_up(f"http://{worker}/metrics"), env=variables, grace=grace)
    )


def _is_up(url: str) -> bool:
    try:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def wait_until_ready(operator: str) -> dict[str, str]:
    """Returns once /readyz says that the service can work, or after some seconds with what is in its way."""
    until = time.monotonic() + _READY_S
    while True:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{operator}/readyz", timeout=_READY_S)
        if answer.ok:
            return {}
        if time.monotonic() > until:
            return {name: str(text) for name, text in (answer.json().get("data") or {}).items()}
        time.sleep(0.1)


def _spool(state: Path) -> Path:
    """The state folder outlives its run, so what was answered 200 may lie there."""
    return (state / "spool").absolute()


def _app_proxy() -> list[str]:
    return [sys.executable, "-m", "proxy"]


def _claim_usual_ports() -> bool:
    """May this demo listen at the usual ports? Until it ends no other one of this user may.

    Looking whether a port is taken is not enough: a demo that has just begun does not listen yet.
    """
    lock = Path("/tmp", f"mimc-app-proxy-{os.getuid()}-usual-ports.lock")  # noqa: S108  it holds nothing  # nosec B108
    try:
        return take_lock(lock) is not None  # the kernel frees it with the process
    except OSError:  # another user's
        return False


def _port(name: str, *, usual: bool) -> int:
    return _PORTS[name] if usual and not port_taken(_HOST, _PORTS[name]) else free_port()


def _secrets(path: Path) -> dict[str, Any]:
    if not path.exists():
        replace_file(
            path, json.dumps({"jwt_key": secrets.token_urlsafe(48), "url_secret": secrets.token_hex(24)}).encode()
        )
    made: dict[str, Any] = json.loads(path.read_text())
    return made


def _key_file(state: Path) -> Path:
    """config/emulators.toml says where it lies in the state folder."""
    return (state / "apns.p8").absolute()


def _make_key(path: Path) -> None:
    if path.exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    replace_file(path, pem)
