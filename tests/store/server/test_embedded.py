"""The embedded store, run for real: who starts it, what survives its death, where it listens."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

from proxy.local.process_records import started_at
from proxy.store.server.embedded import (
    SOCKET_PATH_LIMIT,
    StoreNotStarted,
    ensure_store,
    server_binary,
    socket_path,
    stop_store,
    store_command,
    store_url,
)

pytestmark = pytest.mark.system


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short folder (pytest's own are long), without a server in it at the end."""
    with tempfile.TemporaryDirectory(prefix="store-", dir="/tmp") as place:
        yield Path(place, "store")
        stop_store(Path(place, "store"))


def server_pid(url: str) -> int:
    with Redis.from_url(url) as store:
        return int(store.info("server")["process_id"])


def test_of_eight_starters_at_once_one_starts_the_server(folder: Path) -> None:
    start = (
        "import pathlib, sys; from proxy.store.server.embedded import ensure_store; "
        "print(ensure_store(pathlib.Path(sys.argv[1])))"
    )
    starters = [
        subprocess.Popen([sys.executable, "-c", start, str(folder)], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    answers = {starter.communicate(timeout=30)[0] for starter in starters}
    assert answers == {f"unix://{folder}/socket\n"}
    assert [starter.returncode for starter in starters] == [0] * 8
    assert (folder / "log").read_text().count("Server initialized") == 1


def test_what_was_answered_is_there_after_the_server_was_killed(folder: Path) -> None:
    url = ensure_store(folder)
    with Redis.from_url(url) as store:
        ids = [store.xadd("stream", {"n": n}) for n in range(50)]
    os.kill(server_pid(url), signal.SIGKILL)
    with ThreadPoolExecutor(4) as starters:
        assert set(starters.map(ensure_store, [folder] * 4)) == {url}
    with Redis.from_url(url) as store:
        assert [entry for entry, _ in store.xrange("stream")] == ids


def test_the_server_writes_before_it_answers_and_evicts_nothing(folder: Path) -> None:
    with Redis.from_url(ensure_store(folder)) as store:
        for name, value in (("appendfsync", "always"), ("maxmemory-policy", "noeviction"), ("appendonly", "yes")):
            assert store.config_get(name) == {name: value} or store.config_get(name) == {name.encode(): value.encode()}
        assert int(store.config_get("auto-aof-rewrite-percentage").popitem()[1]) > 0
        assert store.info("server")["tcp_port"] == 0


def test_only_its_owner_reaches_the_server(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    ensure_store(folder)
    assert folder.stat().st_mode & 0o077 == 0
    assert socket_path(folder).stat().st_mode & 0o077 == 0


def test_a_long_state_path_gets_its_socket_in_a_short_private_folder(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    short = socket_path(folder)
    try:
        url = ensure_store(folder)
        assert len(os.fsencode(short)) <= SOCKET_PATH_LIMIT
        assert short.parent.stat().st_mode & 0o777 == 0o700
        with Redis.from_url(url) as store:
            assert store.ping()
        assert (folder / "appendonlydir").is_dir()
    finally:
        stop_store(folder)
    assert not short.parent.exists()


def test_a_short_folder_that_is_not_ours_is_not_trusted(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    planted = socket_path(folder).parent
    planted.symlink_to(tmp_path)
    try:
        with pytest.raises(StoreNotStarted, match="is not a folder of this user"):
            ensure_store(folder)
    finally:
        planted.unlink()


def test_a_path_with_spaces_and_signs_makes_a_url_that_redis_reads(folder: Path) -> None:
    odd = folder.parent / "a b%20?#ü"
    try:
        with Redis.from_url(ensure_store(odd)) as store:
            assert store.ping()
    finally:
        stop_store(odd)


def test_stopping_leaves_no_server_and_may_be_repeated(folder: Path) -> None:
    pid = server_pid(ensure_store(folder))
    stop_store(folder)
    assert started_at(pid) is None
    stop_store(folder)


def test_the_foreground_command_is_the_server_itself_and_ends_on_sigterm(folder: Path) -> None:
    with subprocess.Popen(store_command(folder), stdout=subprocess.DEVNULL) as server:
        try:
            while not socket_path(folder).exists():
                assert server.poll() is None
                time.sleep(0.01)
            assert ensure_store(folder) == store_url(folder)
            assert server_pid(store_url(folder)) == server.pid
            second = subprocess.run(store_command(folder), capture_output=True, text=True, check=False, timeout=20)
            assert second.returncode == 1
            assert second.stderr == f"another server of {folder} is running\n"
        finally:
            server.terminate()
        assert server.wait(timeout=10) == 0


def test_without_a_server_binary_the_message_names_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("STORE_SERVER", raising=False)
    with pytest.raises(StoreNotStarted, match=r"Install one of them, or set REDIS_URL"):
        server_binary()


def test_another_server_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_SERVER", "/opt/valkey/bin/valkey-server")
    assert server_binary() == Path("/opt/valkey/bin/valkey-server")


def test_a_server_that_cannot_start_is_reported_with_its_log(folder: Path) -> None:
    folder.mkdir()
    (folder / "appendonlydir").write_text("a file where the server wants a folder")
    with pytest.raises(StoreNotStarted, match=r"(?s)ended at its start: .*appendonly"):
        ensure_store(folder)
