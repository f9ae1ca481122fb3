"""A callback kept on this machine's disk, the store being away, against one that the store takes.

python -m tests.bench spooled
"""

import sys
import time
from pathlib import Path

from proxy.local.ports import free_port
from proxy.spool.format import Record, walk
from proxy.store.server.embedded import store_url
from tests import stored
from tests.bench.figures import Row, Spread, number
from tests.bench.intake import bodies
from tests.bench.processes import MeasuredRig, cores, pin
from tests.bench.size import Size
from tests.bench.web import Target, compare
from tests.listening import listens
from tests.system.rig import MAIN, ROOT, URL_SECRET, Process


def measure(rig: MeasuredRig, size: Size) -> list[Row]:
    """Two gunicorns of the service: one has its store, the other finds none and keeps what it takes."""
    folder = rig.folder / "spool"
    storing = rig.start_web(size.workers, APP_PROXY_SERVER__THREADS=str(size.threads))
    port = free_port()
    spooling = _start(rig, size, port, folder, "unix:///nonexistent/socket")
    measured, others = cores()
    for process in rig.processes.values():
        pin(process, others)
    for process in (storing, spooling):
        pin(process, measured)
    path = f"/callbacks/mimc/{URL_SECRET[MAIN]}"
    kept, at_once = Target(spooling, port, path, bodies), Target(storing, rig.web_port, path, bodies)
    rows, sent = compare("callback spooled", kept, at_once, size, "stored one's")
    found = _records(folder)
    if found != sent:
        raise AssertionError(f"{sent} callbacks were answered 200, {found} are on the disk")
    for process in (storing, spooling):
        process.stop()
    redis = rig.redis()
    redis.delete(*stored.callbacks(redis, MAIN))  # no worker shall find them later
    rows.append(_handing_in(rig, size, folder, found))
    redis.delete(*stored.callbacks(redis, MAIN))
    return rows


def _handing_in(rig: MeasuredRig, size: Size, folder: Path, count: int) -> Row:
    """How fast the store gets them from a process that finds them at its start, once it has begun."""
    redis = rig.redis()
    process = _start(rig, size, free_port(), folder, store_url(rig.folder / "store"))
    begun: int = rig.wait(lambda: stored.length(redis, stored.callbacks(redis, MAIN)), "the first of them")
    started = time.perf_counter()
    rig.wait(lambda: not list(folder.glob("*.spool")), "an empty spool", seconds=120)
    per_second = (count - begun) / (time.perf_counter() - started)
    process.stop()
    return Row("callbacks handed in from the disk, /s", Spread.of([per_second]), f"{number(count)} callbacks")


def _start(rig: MeasuredRig, size: Size, port: int, folder: Path, store: str) -> Process:
    """A second gunicorn of the service beside the rig's own."""
    variables = {
        "WEB_CONCURRENCY": str(size.workers),
        "APP_PROXY_SERVER__THREADS": str(size.threads),
        "APP_PROXY_SERVER__BIND": f"127.0.0.1:{port}",
        "APP_PROXY_SERVER__OPERATOR_BIND": f"127.0.0.1:{free_port()}",
        "APP_PROXY_STORE__SPOOL_DIR": str(folder),
        "APP_PROXY_STORE__URL": store,
    }
    argv = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "config/gunicorn.conf.py"), "wsgi:app"]
    process = rig.start("spooling", argv, **variables)
    rig.wait(lambda: listens("127.0.0.1", port), "the second web")
    return process


def _records(folder: Path) -> int:
    return sum(isinstance(found, Record) for path in folder.glob("*.spool") for found in walk(path.read_bytes()))
