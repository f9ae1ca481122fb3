"""`app-proxy run` as a newcomer uses and misuses it: real processes in state folders of their own."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

from proxy.local.ports import free_port
from proxy.local.process_records import started_at

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
PHONES = ("alices-iphone  shows", "carols-xiaomi  shows", "doras-oppo     shows")
DEAD_PORT = "http://127.0.0.1:1"
# what a developer's machine may have in its environment
HOSTILE: dict[str, str] = {
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"), DEAD_PORT),
    **dict.fromkeys(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"), "/nonsense"),
    "WEB_CONCURRENCY": "",
}


class Run:
    """An `app-proxy run` with its own state folder; `said` is what it has printed."""

    def __init__(self, state: Path, *options: str, environ: Mapping[str, str] | None = None) -> None:
        self.state = state
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed with the run
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("APP_PROXY_") and k != "REDIS_URL"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "proxy", "run", "--state", str(state), *options],
            cwd=ROOT, env={**inherited, **(environ or {})}, stdin=subprocess.DEVNULL,
            stdout=self._output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    @property
    def said(self) -> str:
        return os.pread(self._output.fileno(), 1 << 20, 0).decode()

    def has_said(self, text: str) -> bool:
        return text in self.said

    def until_up(self) -> None:
        self.wait(lambda: "Ctrl-C stops it all" in self.said, "the start")

    def wait(self, look: Callable[[], T | None], what: str, seconds: float = 120) -> T:
        deadline = time.monotonic() + seconds
        while not (found := look()):
            assert self.process.poll() is None, f"{what}: it ended with {self.process.poll()}: {self.said}"
            assert time.monotonic() < deadline, f"{what} did not come: {self.said}"
            time.sleep(0.02)
        return found

    def end(self, seconds: float = 180) -> int:
        """The exit code, once it has ended by itself."""
        return self.process.wait(seconds)

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def children(self) -> dict[str, int]:
        return {it["name"]: it["pid"] for it in json.loads((self.state / "processes.json").read_text())}

    def address(self, of: str) -> str:
        """What the printed list of addresses says."""
        found = re.search(rf"^  {of} +(https?://\S+)", self.said, re.MULTILINE)
        assert found, self.said
        return found[1]

    @property
    def operator_port(self) -> str:
        """What the written environment says."""
        found = re.search(r"OPERATOR_BIND='127\.0\.0\.1:(\d+)'", (self.state / "env").read_text())
        assert found
        return found[1]

    def journal(self) -> list[dict[str, Any]]:
        """The emulated APNs'."""
        found = re.search(r"its journal: (\S+)", self.said)
        assert found, self.said
        entries: list[dict[str, Any]] = get(found[1]).json()["entries"]
        return entries

    def bearer(self, account: str) -> str:
        """By the printed command."""
        command = f". {shlex.quote(str(self.state / 'env'))}; {shlex.quote(sys.executable)} -m proxy token --account"
        done = subprocess.run(
            ["/bin/sh", "-c", f"{command} {account}"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def printed(self) -> str:
        """All that it and its children have said."""
        logs = (self.state / "logs").glob("*")
        return "\n".join([self.said, *(path.read_text(errors="replace") for path in logs)])

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
        self._output.close()


@contextmanager
def running(state: Path, *options: str, environ: Mapping[str, str] | None = None) -> Iterator[Run]:
    run = Run(state, *options, environ=environ)
    try:
        yield run
    finally:
        run.close()


def http() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session


def get(url: str) -> requests.Response:
    with http() as session:
        return session.get(url, timeout=5)


def is_up(url: str) -> bool:
    try:
        return get(url).ok
    except requests.RequestException:
        return False


@pytest.mark.trial
def test_two_demos_at_once_both_play_the_main_job_whatever_the_environment(place: Path) -> None:
    opened = place / "opened"
    browser = script(place / "browser", f'#!/bin/sh\nprintf %s "$1" > {shlex.quote(str(opened))}\n')
    deep = place / "a-folder-whose-name-alone-is-longer-than-a-unix-socket-may-have" / ("x" * 60) / "state"
    with (
        running(place / "one", "--demo", "--open", environ={"BROWSER": str(browser)}) as one,
        running(deep, "--demo", environ=HOSTILE) as two,
    ):
        for run in (one, two):
            assert run.end() == 0, run.printed()
            assert all(phone in run.said for phone in PHONES)
            assert "done: all phones show what they should" in run.said
            assert run.children() == {}
            assert (run.state / "spool").is_dir()
            for secret in json.loads((run.state / "secrets.json").read_text()).values():
                assert secret not in run.printed()
            assert f"The phones: http://127.0.0.1:{run.operator_port}/console/phones" in run.said
        assert opened.read_text() == f"http://127.0.0.1:{one.operator_port}/console/phones"


@pytest.mark.trial
def test_a_run_outlives_what_is_killed_and_nothing_outlives_the_run(place: Path) -> None:
    with running(place / "one") as first:
        first.until_up()
        register(first, "ab" * 32)
        for name in ("store", "web", "worker"):
            kill(first, name)
            write(first, f"Hello after the {name}")
            first.wait(partial(arrived, first, f"Hello after the {name}"), f"the message after the {name}")
            shown = f'iPhone abab... shows  "bob: Hello after the {name}"'
            first.wait(partial(first.has_said, shown), "the alert in the terminal")
        is_told_who_holds_the_folder(first)
        is_told_that_the_port_is_taken(place / "two", first.address("web"))
        left = first.children()
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        until(lambda: not [pid for pid in left.values() if started_at(pid)], "the end of all")
        with running(place / "one") as second:
            second.until_up()
            ends_all_of_its_own_at_an_interrupt(second)


def exported(env: Path) -> dict[str, str]:
    lines = env.read_text().splitlines()
    return {name: value for name, _, value in (shlex.split(line)[1].partition("=") for line in lines)}


@pytest.mark.trial
def test_a_shell_that_read_the_printed_environment_can_run_it_all_again(place: Path) -> None:
    with running(place / "one", "--demo") as first:
        assert first.end() == 0, first.printed()
    poisoned = exported(place / "one" / "env")
    assert "APP_PROXY_CONFIG" in poisoned
    with running(place / "one", "--demo", environ=poisoned) as again:
        assert again.end() == 0, again.printed()
        assert "done: all phones show what they should" in again.said


def test_a_demo_with_a_configuration_of_ones_own_is_refused(place: Path) -> None:
    with running(place / "one", "--demo", environ={"APP_PROXY_CONFIG": "config/proxy.toml"}) as run:
        assert run.end() == 2
        assert "leave out --demo, or APP_PROXY_CONFIG" in run.said


def test_a_store_of_the_environment_that_does_not_answer_is_told_by_its_variable(place: Path) -> None:
    with running(place / "one", environ={"REDIS_URL": "redis://127.0.0.1:1"}) as run:
        assert run.end() == 2
        assert "the store that REDIS_URL names does not answer" in run.said


@pytest.mark.trial
def test_a_folder_of_a_long_relative_name_will_do(place: Path) -> None:
    state = Path(os.path.relpath(place, ROOT)) / ("s" * 100) / ("t" * 100)
    with running(state, "--demo") as run:
        assert run.end() == 0, run.said


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def is_told_who_holds_the_folder(holder: Run) -> None:
    with running(holder.state) as run:
        assert run.end() == 2
        assert f"another copy is running in {holder.state} (process {holder.process.pid})" in run.said
        assert "--state" in run.said


def is_told_that_the_port_is_taken(state: Path, url: str) -> None:
    port = url.rpartition(":")[2]
    with running(state, "--port", port) as run:
        assert run.end() == 2
        assert f"port {port} on 127.0.0.1 is taken by another process: stop it, or set --port" in run.said


def ends_all_of_its_own_at_an_interrupt(run: Run) -> None:
    pids = run.children().values()
    assert run.interrupt() == 0
    assert [pid for pid in pids if started_at(pid)] == []


def until(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.02)


def register(run: Run, push_token: str) -> None:
    body = {"platform": "apns", "push_token": push_token, "environment": "sandbox"}
    headers = {"Authorization": f"Bearer {run.bearer('alice')}"}
    with http() as session:
        answer = session.put(f"{run.address('web')}/api/devices/my-iphone", json=body, headers=headers, timeout=5)
    assert answer.status_code == 200


def write(run: Run, text: str) -> None:
    order = {"from_account": "bob", "to_account": "alice", "text": text}
    with http() as session:
        answer = session.post(f"{run.address('emulated MIMC')}/_emulator/messages", json=order, timeout=5)
    assert answer.status_code == 200


def kill(run: Run, name: str) -> None:
    """SIGKILL; returns when the service is ready again."""
    before, ready = run.children()[name], f"{run.address('operator')}/readyz"
    os.kill(before, signal.SIGKILL)
    run.wait(lambda: run.children().get(name, before) != before, f"a new {name}")
    run.wait(lambda: is_up(ready), "a web that is ready")
    assert f"{name} ended (killed by SIGKILL); starting it again now" in run.said


def arrived(run: Run, text: str) -> bool:
    mine = [it for it in run.journal() if it["accepted"] and it["device_token"] == "ab" * 32]
    return text in [it["payload"]["aps"]["alert"]["body"] for it in mine]


def test_with_a_configuration_of_ones_own_only_the_service_is_started(place: Path) -> None:
    place.mkdir()
    public, operator, relay = free_port(), free_port(), free_port()
    (place / "proxy.toml").write_text(
        f'[server]\nbind = "127.0.0.1:{public}"\noperator_bind = "127.0.0.1:{operator}"\n'
        f'[store]\n[relay]\noperator_bind = "127.0.0.1:{relay}"\n[auth.jwt.own]\nsecret = "{"k" * 40}"\n'
        "[apps.mine]\napp_id = 1\n"
        f'app_key = "k"\napp_secret = "s"\nurl_secret = "{"u" * 20}"\nbase_url = "{DEAD_PORT}"\n'
    )
    options = ("--config", str(place / "proxy.toml"))
    with running(place / "state", *options, environ=HOSTILE) as run:
        run.until_up()
        assert set(run.children()) == {"store", "web", "worker"}
        run.wait(lambda: is_up(f"http://127.0.0.1:{operator}/readyz"), "a service that is ready")
        assert "emulate" not in run.printed()
        assert get(f"http://127.0.0.1:{operator}/readyz").json()["data"]["spool"].startswith("on: ")
        assert (place / "state" / "spool").is_dir()
        assert f"Commands for it, in another terminal: (. {place / 'state' / 'env'}; app-proxy doctor)" in run.printed()
        meets_its_store(place / "state" / "env")
        ends_all_of_its_own_at_an_interrupt(run)
    with running(place / "state", *options, environ=HOSTILE | exported(place / "state" / "env")) as again:
        again.until_up()
        assert set(again.children()) == {"store", "web", "worker"}
        assert exported(place / "state" / "env")["APP_PROXY_STORE__SPOOL_DIR"] == str(place / "state" / "spool")
        ends_all_of_its_own_at_an_interrupt(again)


def meets_its_store(env: Path) -> None:
    """Other commands know the store and the settings of the run by the file alone."""
    command = f". {env}; {shlex.quote(sys.executable)} -m proxy devices list"
    listed = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (listed.returncode, listed.stdout, listed.stderr) == (0, "", "")


def test_wrong_settings_of_ones_own_are_told_without_their_values(place: Path) -> None:
    place.mkdir()
    (place / "proxy.toml").write_text(
        '[auth.jwt.own]\nsecret = "jwt-canary"\n[apps.mine]\nurl_secret = "short-canary"\n'
    )
    with running(place / "state", "--config", str(place / "proxy.toml")) as run:
        assert run.end() == 2
        assert "auth.jwt.own.secret: at least 32 bytes" in run.said
        assert "apps.mine.url_secret: at least 16 bytes" in run.said
        assert "canary" not in run.said
