"""The whole service as real processes on free ports: store, emulators, gunicorn, workers. Times are short by setting.

    with Rig(folder) as rig:
        rig.start_web(); worker = rig.start_worker()
        rig.register("alice", "phone", token)
        rig.post(offline("bob", "alice", "hello", sequence=1))
        rig.wait(lambda: rig.pushes(token), "the push")

Two apps are configured: `main` (APNs, and MiPush by account) and `other` (APNs of another team, MiPush by regid).
What every process prints lies in `folder/logs`. At the end none of the rig's secrets may be in there: those of its
settings, the bearers and push tokens that it used, and the texts that were marked with `secret`.
"""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import jwt
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client.parser import text_string_to_metric_families

from proxy.channels import APNS, MIPUSH
from proxy.domain.lanes import Lane
from proxy.local.ports import free_port
from proxy.store.server.embedded import store_command, store_url
from tests import stored
from tests.system.earlier import in_words_of

T = TypeVar("T")
_WORD = re.compile(r"[\w-]+", re.ASCII)

ROOT = Path(__file__).resolve().parents[2]
JWT_KEY = "system-tests-jwt-key-0123456789-abcdefghij"
MAIN, OTHER = "2882303761517000001", "2882303761517000002"
URL_SECRET = {MAIN: "url-secret-of-main-0123456789abcdef", OTHER: "url-secret-of-other-0123456789abcdef"}
APP_SECRET = {MAIN: "bWFpbi1hcHAtc2VjcmV0LTAxMg==", OTHER: "b3RoZXItYXBwLXNlY3JldC0wMQ=="}
PUSH_SECRET = {MAIN: "push-secret-of-main", OTHER: "push-secret-of-other"}
TEAM = {MAIN: "TEAMMAIN01", OTHER: "TEAMOTHER1"}
SENDER_KEY, SENDER_SECRET = "key-in-the-senders-address", "whsec_" + "c2VuZGVyIG9mIG90aGVy" * 2
KEY_ID = {MAIN: "KEYMAIN001", OTHER: "KEYOTHER01"}
TOPIC = {MAIN: "com.example.main", OTHER: "com.example.other"}
CHANNELS = (APNS, MIPUSH)
_LANES = (*CHANNELS, "apns-sandbox", "http")
SECTION = {MAIN: "main", OTHER: "other"}

# lease 2 s, so that a takeover is seen in seconds; the relations are those of the defaults
SHORT_TIMES = {
    "lease_s": 2.0, "heartbeat_s": 0.4, "push_timeout_s": 1.4, "silence_min_s": 0.5, "drain_s": 5.0, "probe_s": 1.0,
    "backoff_initial_s": 0.2, "backoff_max_s": 2.0,
}  # fmt: skip


@dataclass(eq=False)
class Process:
    """A running child; its output goes to `log`."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    program: Path
    facts: Mapping[str, Any] = field(default_factory=dict)

    def children(self) -> list[int]:
        """The process ids of its own children: gunicorn's web processes."""
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        pairs = (line.split() for line in listing.splitlines())
        return [int(pid) for pid, parent in pairs if int(parent) == self.popen.pid]

    def signal(self, number: int) -> None:
        """To the child and all of its own children."""
        os.killpg(self.popen.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.popen.wait(10)

    def stop(self) -> int:
        """SIGTERM and wait; the exit code."""
        if self.popen.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                return self.popen.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.popen.returncode


class Rig:
    """See the module. `relay`, `alerts`, `apns`, `mipush`, `mimc` change what the defaults here are.

    With `http` the app `other` has a sender of its own, too. `webhooks` are sections of the settings. With `sandbox`
    APNs' sandbox is an emulator of its own; without, one emulated APNs serves both environments.

    `without` names emulators that are not started; their callers find no listener. `program` is the folder whose
    `proxy` package, `wsgi.py` and `config` are run; web and workers can each be started from another one. A program
    elsewhere may have an environment of its own in `.venv`.
    """

    is_one_server = True  # the store
    store_lines: Sequence[str] = ()  # of its section in the settings

    def __init__(
        self,
        folder: Path,
        *,
        relay: Mapping[str, Any] | None = None,
        alerts: Mapping[str, Any] | None = None,
        apns: Mapping[str, Any] | None = None,
        sandbox: Mapping[str, Any] | None = None,
        mipush: Mapping[str, Any] | None = None,
        mimc: Mapping[str, Any] | None = None,
        http: Mapping[str, Any] | None = None,
        webhooks: Sequence[Mapping[str, Any]] = (),
        without: Sequence[str] = (),
        program: Path = ROOT,
    ) -> None:
        self.folder = folder
        self.program = program
        self.logs, self.temporary = folder / "logs", folder / "tmp"
        self._relay = {**SHORT_TIMES, **(relay or {})}
        self._alerts, self._webhooks = alerts or {}, webhooks
        emulators = {"apns": apns or {}, "mipush": mipush or {}, "mimc": mimc or {}}
        emulators |= {} if sandbox is None else {"sandbox": sandbox}
        emulators |= {} if http is None else {"http": http}
        self._emulators = {name: own for name, own in emulators.items() if name not in without}
        self.output: int | None = None  # a file descriptor into which processes print from now on, instead of a log
        self._processes: list[Process] = []
        self._local = threading.local()
        self._secrets = {**_settings_secrets()}
        self._tokens: dict[str, str] = {}
        self._web_port, self._operator_port = free_port(), free_port()
        unused = {name: free_port() for name in without}
        self.facts: dict[str, Mapping[str, Any]] = {
            name: {"port": port, "url": f"http://127.0.0.1:{port}"} for name, port in unused.items()
        }

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        found = self.leaks()
        if found and error is None:
            raise AssertionError(f"secrets in the logs: {found}")
        if found and error is not None:
            error.add_note(f"and secrets in the logs: {found}")

    def close(self) -> None:
        running = [process for process in self._processes if process.popen.poll() is None]
        for process in running:  # all at once: most of the end is waiting
            process.signal(signal.SIGCONT)
            if process.name != "store":
                process.signal(signal.SIGTERM)
        for process in reversed(running):  # the store, which a worker needs to finish, last
            process.stop()

    def _begin(self) -> None:
        self.logs.mkdir(parents=True)
        self.temporary.mkdir()
        for app_id in (MAIN, OTHER):
            self.secret("p8 key", write_key(self.folder / f"{SECTION[app_id]}.p8"))
        self.store = self.start_store()
        for name, process in [(name, self._start_emulator(name)) for name in self._emulators]:
            self.facts[name] = self.wait(partial(_announced, process), f"the emulated {name}")
        (self.folder / "proxy.toml").write_text(self._proxy_toml())

    # processes

    def start_store(self) -> Process:
        """The store, anew on the same folder after a kill: what it had synced is there again."""
        folder = self.folder / "store"
        process = self.start("store", store_command(folder))
        client = self.redis()
        self.wait(lambda: _answers(client), "the store")
        return process

    def start_web(self, workers: int = 2, *, program: Path | str | None = None, **variables: str) -> Process:
        folder = Path(program or self.program)
        config = folder / "config/gunicorn.conf.py"
        argv = [_python(folder), "-m", "gunicorn", "-c", str(config), "wsgi:app"]
        process = self.start("web", argv, cwd=program, WEB_CONCURRENCY=str(workers), **variables)
        process.facts = {"metrics": f"{self.operator}/metrics"}
        self.wait(lambda: self.is_up(process, f"{self.operator}/healthz"), "the web")
        return process

    def start_worker(self, *, program: Path | str | None = None, **variables: str) -> Process:
        return self.start_workers(1, program=program, **variables)[0]

    def start_workers(self, count: int, *, program: Path | str | None = None, **variables: str) -> list[Process]:
        """Side by side, each with a port for its metrics."""
        started = []
        for _ in range(count):
            address = f"127.0.0.1:{free_port()}"
            bind = {"APP_PROXY_RELAY__OPERATOR_BIND": address}
            argv = [_python(Path(program or self.program)), "-m", "proxy", "worker"]
            started.append(self.start("worker", argv, cwd=program, **bind | variables))
            started[-1].facts = {"metrics": f"http://{address}/metrics"}
        for process in started:
            self.wait(partial(self.is_up, process, process.facts["metrics"]), "the worker")
        return started

    def start(self, name: str, argv: Sequence[str], *, cwd: Path | str | None = None, **variables: str) -> Process:
        """A child in the folder `cwd`, from which `python -m` takes the package; `program` where none is named."""
        log = self.logs / f"{name}-{len(self._processes)}.log"
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("APP_PROXY_", "PROMETHEUS_"))
        }
        folder = Path(cwd or self.program)
        environment |= {"APP_PROXY_CONFIG": str(self._settings_file(folder)), "PYTHONUNBUFFERED": "1"}
        environment |= {"TMPDIR": str(self.temporary), **variables}  # what a killed process leaves, goes with the rig
        with log.open("wb") as log_file:
            output = log_file if self.output is None else self.output
            popen = subprocess.Popen(
                argv, cwd=folder, env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        process = Process(name, popen, log, folder)
        self._processes.append(process)
        return process

    def _settings_file(self, program: Path) -> Path:
        """The settings, in the words of that program."""
        file = self.folder / "proxy.toml"
        text = file.read_text() if file.exists() else ""
        translated = in_words_of(program, text)
        if translated != text:
            file = self.folder / "earlier.toml"
            file.write_text(translated)
        return file

    def _start_emulator(self, name: str) -> Process:
        config = self.folder / f"{name}.toml"
        config.write_text(self._emulator_toml(name))
        kind = "apns" if name == "sandbox" else name
        return self.start(name, [sys.executable, "-m", "proxy", "emulate", kind, "--config", str(config)])

    # what happens in the world

    @property
    def http(self) -> requests.Session:
        """A session of this thread's own, without the environment's proxies."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
        return session

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self._web_port}"

    @property
    def operator(self) -> str:
        return f"http://127.0.0.1:{self._operator_port}"

    def control(self, emulator: str) -> str:
        facts = self.facts[emulator]
        return f"http://127.0.0.1:{facts.get('control_port', facts['port'])}/_emulator"

    def bearer(self, account: str) -> str:
        return self._token("bearer", jwt.encode({"sub": account, "exp": int(time.time()) + 600}, JWT_KEY, "HS256"))

    def register(
        self, account: str, device_id: str, push_token: str, *, app_id: str = MAIN, platform: str = "apns", **more: Any
    ) -> requests.Response:
        self._token("push token", push_token)
        body = {"app": SECTION[app_id], "platform": platform, "push_token": push_token, **more}
        url = f"{self.web}/api/devices/{device_id}"
        return self.http.put(url, json=body, headers={"Authorization": f"Bearer {self.bearer(account)}"}, timeout=10)

    def post(self, body: Mapping[str, Any], app_id: str = MAIN) -> requests.Response:
        """Post one callback, as MIMC does."""
        return self.http.post(f"{self.web}/callbacks/mimc/{URL_SECRET[app_id]}", json=body, timeout=10)

    def fault(self, emulator: str, **order: Any) -> None:
        self.http.post(f"{self.control(emulator)}/faults", json=order, timeout=10).raise_for_status()

    def end_faults(self, emulator: str) -> None:
        self.http.delete(f"{self.control(emulator)}/faults", timeout=10).raise_for_status()

    def journal(self, emulator: str, after: int = 0) -> list[dict[str, Any]]:
        answer = self.http.get(f"{self.control(emulator)}/journal", params={"after": after}, timeout=30)
        entries: list[dict[str, Any]] = answer.json()["entries"]
        return entries

    def counters(self, emulator: str) -> dict[str, int]:
        answer = self.http.get(f"{self.control(emulator)}/journal", params={"after": 10**9}, timeout=10)
        found: dict[str, int] = answer.json()["counters"]
        return found

    def phones(self, emulator: str) -> list[dict[str, Any]]:
        """What each of its phones shows; of iPhones the number on the icon, too."""
        answer = self.http.get(f"{self.control(emulator)}/phones", timeout=60)
        found: list[dict[str, Any]] = answer.json()["phones"]
        return found

    def accepted(self, push_token: str | None = None) -> list[dict[str, Any]]:
        """The pushes that the emulated APNs accepted, for one device or all."""
        return [it for it in self.journal("apns") if it["accepted"] and push_token in (None, it["device_token"])]

    def backlog(self, app_id: str = MAIN, *, within_s: float | None = None) -> int:
        """How many callbacks, jobs and retries of this app the store still holds: 0 once all is settled.

        Callbacks that wait for a full lane count too. With `within_s`, retries that are due later do not.
        """
        until = "+inf" if within_s is None else (time.time() + within_s) * 1000
        with self.redis() as redis, redis.pipeline(transaction=self.is_one_server) as pipe:
            for stream in stored.callbacks(redis, app_id):
                pipe.xlen(stream)
            for name in stored.waiting(redis, app_id):
                pipe.zcard(name)
            for channel in _LANES:
                lane = Lane(app_id, SECTION[app_id], channel)
                for stream, later in zip(stored.jobs(redis, lane), stored.retries(redis, lane), strict=True):
                    pipe.xlen(stream).zcount(later, "-inf", until)
            return sum(pipe.execute())

    def settled(self, app_id: str = MAIN, seconds: float = 60) -> None:
        """Wait until nothing of this app is left to do."""
        self.wait(lambda: not self.backlog(app_id), f"the end of all work of {SECTION[app_id]}", seconds)

    def holders(self, app_id: str = MAIN, channel: str = APNS) -> dict[int, int]:
        """How many of the lane's jobs each worker holds, by process id."""
        consumers = self.pending(app_id, channel)["consumers"]
        return {int(it["name"].split("-")[-2]): it["pending"] for it in consumers}

    def pending(self, app_id: str = MAIN, channel: str = APNS) -> dict[str, Any]:
        """XPENDING of the lane; nothing where no worker has made the group yet, as just after its start."""
        from redis.exceptions import ResponseError  # noqa: PLC0415  as in redis()

        with self.redis() as redis:
            try:
                return stored.pending(redis, stored.jobs(redis, Lane(app_id, SECTION[app_id], channel)))
            except ResponseError:
                return {"pending": 0, "consumers": []}

    def dead_letters(self, app_id: str = MAIN) -> list[str]:
        """Their reasons."""
        with self.redis() as redis:
            return [fields["reason"] for _, fields in stored.entries(redis, stored.dead_letters(redis, app_id))]

    def metric(self, process: Process, name: str, **labels: str) -> float:
        """The sum of the samples of a worker or the web of that name with at least those labels."""
        text = self.http.get(process.facts["metrics"], timeout=10).text
        name = in_words_of(process.program, name)
        samples = [it for family in text_string_to_metric_families(text) for it in family.samples]
        return sum(it.value for it in samples if it.name == name and labels.items() <= it.labels.items())

    def readiness(self) -> dict[str, str]:
        """What /readyz tells the operator, or told less than a second ago: wait for what has changed."""
        told: dict[str, str] = self.http.get(f"{self.operator}/readyz", timeout=10).json()["data"]
        return told

    def worker_readiness(self, worker: Process) -> dict[str, str]:
        """What a worker says on its own /readyz."""
        address = worker.facts["metrics"].removesuffix("/metrics") + "/readyz"
        told: dict[str, str] = self.http.get(address, timeout=10).json()["data"]
        return told

    @property
    def store_address(self) -> str:
        return store_url(self.folder / "store")

    def redis(self) -> Any:
        from redis import Redis  # noqa: PLC0415  only tests that look into the store need it

        # records are bytes; so they can be written back as they were read
        return Redis.from_url(
            store_url(self.folder / "store"), decode_responses=True, encoding_errors="surrogateescape"
        )

    def wait(self, look: Callable[[], T | None], what: str, seconds: float = 20) -> T:
        """What `look` finds, once it is true."""
        until = time.monotonic() + seconds
        while not (found := look()):
            if time.monotonic() > until:
                raise AssertionError(f"{what} did not come within {seconds} s; logs: {self.logs}")
            time.sleep(0.02)
        return found

    def secret(self, kind: str, text: str) -> str:
        """The same text, which from now on must be in no log."""
        self._secrets[text] = kind
        return text

    def secret_word(self, kind: str, word: str) -> str:
        """As `secret`, for any number of them: letters, digits, - and _ alone, which no log shall have as a word."""
        return self._token(kind, word)

    def leaks(self, *printed: str) -> list[str]:
        """Which kinds of secrets are in the logs, and in what else was `printed`."""
        texts = {path.name: path.read_text(errors="replace") for path in sorted(self.logs.glob("*"))}
        texts |= {f"printed {number}": text for number, text in enumerate(printed)}
        return [f"{kind} in {name}" for name, text in texts.items() for kind in sorted(self._kinds_in(text))]

    def _kinds_in(self, text: str) -> set[str]:
        kinds = {kind for secret, kind in self._secrets.items() if secret in text}
        if not self._tokens:
            return kinds
        words = set(_WORD.findall(text))  # they are many: one pass for all of them
        return kinds | {self._tokens[word] for word in words & self._tokens.keys()}

    def _token(self, kind: str, token: str) -> str:
        self._tokens[max(_WORD.findall(token), key=len, default=token)] = kind
        return token

    def everything_printed(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.logs.iterdir()))

    def is_up(self, process: Process, url: str) -> bool:
        assert process.popen.poll() is None, process.log.read_text()[-2000:]
        try:
            return self.http.get(url, timeout=2).ok
        except requests.RequestException:
            return False

    # settings

    def _proxy_toml(self) -> str:
        apns, sandbox = (
            f"https://127.0.0.1:{self.facts[name if name in self.facts else 'apns']['port']}"
            for name in ("apns", "sandbox")
        )
        lines = [
            "[server]", f'bind = "127.0.0.1:{self._web_port}"', f'operator_bind = "127.0.0.1:{self._operator_port}"',
            "[store]", f'url = "{self.store_address}"', *self.store_lines,
            "[auth.jwt.own]", f'secret = "{JWT_KEY}"',
            # one person with as many phones, from one address with as many calls, as a test wants
            "[devices]", "per_account = 100",
            "[limits]", *(f'{what}_per_{who} = "1000000/minute"' for what in ("token", "client")
                          for who in ("account", "address")),
            "[relay]", *(f"{name} = {value}" for name, value in self._relay.items()),
            *(["[alerts]"] if self._alerts else []),
            *(f"{name} = {json.dumps(value)}" for name, value in self._alerts.items()),
        ]  # fmt: skip
        for app_id, section in SECTION.items():
            lines += [
                f"[apps.{section}]", f'app_id = "{app_id}"', f'app_key = "key-of-{section}"',
                f'app_secret = "{APP_SECRET[app_id]}"', f'url_secret = "{URL_SECRET[app_id]}"',
                f'base_url = "{self.facts["mimc"]["url"]}"',
                *(f'ca_file = "{path}"' for name, path in self.facts["mimc"].items() if name == "ca_file"),
                f"[apps.{section}.apns]", f'team_id = "{TEAM[app_id]}"', f'key_id = "{KEY_ID[app_id]}"',
                f'key_file = "{self.folder / section}.p8"', f'topic = "{TOPIC[app_id]}"',
                f'production_url = "{apns}"', f'sandbox_url = "{sandbox}"',
                *(f'ca_file = "{path}"' for name, path in self.facts["apns"].items() if name == "ca_file"),
                f"[apps.{section}.mipush]", f'app_secret = "{PUSH_SECRET[app_id]}"', f'package = "{TOPIC[app_id]}"',
                f'base_url = "http://127.0.0.1:{self.facts["mipush"]["port"]}"', 'channel_id = "104551"',
                f'address = "{"account" if app_id == MAIN else "regid"}"',
                f"[apps.{section}.mipush.template]", 'id = "P00001"',
                'variables = { name = "sender", words = "text" }',
            ]  # fmt: skip
        if "http" in self._emulators:
            url = f"{self.facts['http']['url']}/alerts?key={SENDER_KEY}"
            lines += ["[apps.other.http]", f'url = "{url}"', f'secret = "{SENDER_SECRET}"']
        for webhook in self._webhooks:
            lines += ["[[webhooks]]", *(f"{name} = {json.dumps(value)}" for name, value in webhook.items())]
        return "\n".join(lines) + "\n"

    def _emulator_toml(self, name: str) -> str:
        own = "".join(f"{key} = {json.dumps(value)}\n" for key, value in self._emulators[name].items())
        match name:
            case "apns" | "sandbox":
                teams = "".join(
                    f'[[apns.teams]]\nteam_id = "{TEAM[app_id]}"\ntopics = ["{TOPIC[app_id]}"]\n'
                    f'keys = [{{ key_id = "{KEY_ID[app_id]}", key = "{section}.p8" }}]\n'
                    for app_id, section in SECTION.items()
                )
                return f'[apns]\nport = 0\ncontrol_port = 0\ntls_folder = "tls"\n{own}{teams}'
            case "http":
                return f'[http]\nport = 0\n{own}secrets = ["{SENDER_SECRET}"]\n'
            case "mipush":
                apps = "".join(
                    f'[[mipush.apps]]\npackage = "{TOPIC[app_id]}"\napp_secret = "{PUSH_SECRET[app_id]}"\n'
                    '[[mipush.apps.channels]]\nchannel_id = "104551"\n[[mipush.apps.channels.templates]]\n'
                    'template_id = "P00001"\nparameters = ["name", "words"]\ntitle = "From {name}"\ntext = "{words}"\n'
                    for app_id in SECTION
                )
                return f"[mipush]\nport = 0\n{own}{apps}"
            case _:
                apps = "".join(
                    f'[[mimc.apps]]\napp_id = "{app_id}"\napp_key = "key-of-{section}"\n'
                    f'app_secret = "{APP_SECRET[app_id]}"\npackage = "{TOPIC[app_id]}"\n'
                    f'callback_url = "{self.web}/callbacks/mimc/{URL_SECRET[app_id]}"\n'
                    for app_id, section in SECTION.items()
                )
                return f"[mimc]\nport = 0\n{own}{apps}"


def offline(
    sender: str,
    reader: str,
    text: str,
    sequence: int,
    *,
    app_id: str = MAIN,
    resources: Sequence[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """An OFFLINE_MSG as MIMC posts it, in the new form but for `authentication`."""
    body = _body("OFFLINE_MSG", sender, text, sequence)
    body |= {"fromAppId": app_id, "toAppId": app_id, "toAccount": reader}
    return {**body, **({"offlineResources": list(resources)} if resources else {}), **more}


def offline_topic(
    sender: str, members: Sequence[str], text: str, sequence: int, *, topic_id: str = "21351198708203520",
    app_id: str = MAIN, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """An OFFLINE_TOPIC_MSG."""
    body = _body("OFFLINE_TOPIC_MSG", sender, text, sequence)
    return {**body, "appId": app_id, "topicId": topic_id, "toAccounts": list(members), **more}


def push_token() -> str:
    """A fresh APNs device token."""
    return uuid.uuid4().hex * 2


def _body(kind: str, sender: str, text: str, sequence: int) -> dict[str, Any]:
    now_ms = str(int(time.time() * 1000))
    inner = {"version": 0, "msgId": f"TEXT_{sequence}", "msgType": "TEXT", "timestamp": now_ms, "payload": text}
    return {
        "msgType": kind, "fromAccount": sender, "fromResource": "r1", "timestamp": now_ms,
        "payload": base64.b64encode(json.dumps(inner).encode()).decode(),
        "packetId": f"packet-{sender}-{sequence}", "sequence": str(154503794553568000 + sequence), "bizType": "",
    }  # fmt: skip


def _python(program: Path) -> str:
    own = program / ".venv/bin/python"
    return str(own) if program != ROOT and own.exists() else sys.executable


def _announced(process: Process) -> Mapping[str, Any] | None:
    for line in process.log.read_text().splitlines():
        if line.startswith('{"emulator"'):
            facts: Mapping[str, Any] = json.loads(line)
            return facts
    return None


def _answers(client: Any) -> bool:
    from redis.exceptions import RedisError  # noqa: PLC0415

    try:
        return bool(client.ping())
    except RedisError:
        return False


def _settings_secrets() -> dict[str, str]:
    """Text -> what it is."""
    found = {JWT_KEY: "auth.jwt.own.secret", SENDER_KEY: "http.url", SENDER_SECRET: "http.secret"}
    for app_id, section in SECTION.items():
        found |= {f"key-of-{section}": "app_key", APP_SECRET[app_id]: "app_secret", URL_SECRET[app_id]: "url_secret"}
        found |= {PUSH_SECRET[app_id]: "mipush.app_secret"}
    return found


def write_key(path: Path) -> str:
    """Returns a line of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(encoding, kind, serialization.NoEncryption())
    path.write_bytes(pem)
    return pem.decode().splitlines()[1]
