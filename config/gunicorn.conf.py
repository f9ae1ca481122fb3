"""gunicorn's settings, from the service's own."""

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

_METRICS = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "mimc-app-proxy-metrics-"
# A callback gives Python's lock away some ten times. Where floods keep other threads busy it would wait each time for
# Python's usual 5 ms; p99 under 300 sign-ins/s was 3.3 to 3.8 times that without them, and is 2.5 (measured).
_TURN_S = 0.0005

# before anything imports prometheus_client, which looks once
if not os.environ.get(_METRICS):
    os.environ[_METRICS] = tempfile.mkdtemp(prefix=_PREFIX)

import structlog  # noqa: E402  after the folder is named
from gunicorn.glogging import Logger  # type: ignore[import-untyped]  # noqa: E402  after the folder is named

from proxy.configuration import load_settings, taken_from_platform  # noqa: E402  after the folder is named
from proxy.errors import BadSettings  # noqa: E402  after the folder is named
from proxy.files import WatchedFiles  # noqa: E402  after the folder is named
from proxy.garbage import look_for_cycles_seldom  # noqa: E402  after the folder is named
from proxy.logs import configure_logs  # noqa: E402  after the folder is named
from proxy.metric_files import sweep  # noqa: E402  after the folder is named
from proxy.settings import GRACE, Settings  # noqa: E402  after the folder is named
from proxy.spool.folder import check_spool  # noqa: E402  after the folder is named
from proxy.store.connection import Store  # noqa: E402  after the folder is named
from proxy.store.server.policy import refuse_unfit  # noqa: E402  after the folder is named


def _usable_settings() -> Settings:
    """Raises BadSettings, also where the store that they name would throw callbacks away, or nothing can be spooled.

    Here alone: a disk that fails later must keep no process from starting again.
    """
    found = load_settings()
    check_spool(found.store)
    url, timeout_s = found.store.url.get_secret_value(), found.store.timeout.total_seconds()
    refuse_unfit(Store(url, timeout_s, shards=found.store.shards, app_ids=[it.app_id for it in found.apps.values()]))
    return found


try:
    _settings = _usable_settings()
except BadSettings as error:
    sys.stderr.write(f"the settings cannot be used:\n{error}\n")
    raise SystemExit(2) from None


class LinesLikeOurs(Logger):  # type: ignore[misc]
    """What gunicorn has to say about its processes, in the form of all other lines."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        configure_logs(_settings.logs.format, _settings.logs.level, forks=True)
        structlog.get_logger().info("web starts", taken_from_platform=taken_from_platform())


bind = list(dict.fromkeys([_settings.server.bind, _settings.server.operator_bind]))
worker_class = "proxy.web.server.Worker"
workers = _settings.server.workers
keepalive = 5
timeout = 30
graceful_timeout = int(GRACE.total_seconds())
preload_app = False
control_socket_disable = True
forwarded_allow_ips = ""  # limits.trusted_proxies names the proxies we believe; gunicorn believes none
forwarder_headers = ""  # nor the path that a peer on a unix socket would like to be told
secure_scheme_headers: dict[str, str] = {}
accesslog = None  # the application logs each request, without its path
logger_class = LinesLikeOurs
if Path("/dev/shm").is_dir():  # noqa: S108, gunicorn's heartbeat file must not wait for a disk  # nosec B108
    worker_tmp_dir = "/dev/shm"  # noqa: S108  as above  # nosec B108


def when_ready(server: Any) -> None:
    """SIGHUP reads the settings again, and so does a file that they name and that changed.

    gunicorn would end with the first that is wrong; a running service goes on.
    """
    reload = server.reload

    def reload_what_is_right() -> None:
        try:
            _usable_settings()
        except BadSettings as error:
            server.log.error("not reloaded, the settings cannot be used:\n%s", error)
        else:
            reload()

    server.reload = reload_what_is_right
    manage, files = server.manage_workers, WatchedFiles(_settings.files)

    def manage_and_look() -> None:
        """gunicorn does this once a second."""
        if files.changed():
            structlog.get_logger().info("files have changed: the settings are read again")
            os.kill(os.getpid(), signal.SIGHUP)
        manage()

    server.manage_workers = manage_and_look


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001  the signature is gunicorn's
    worker.settings = _settings


def post_worker_init(worker: Any) -> None:  # noqa: ARG001  the signature is gunicorn's
    look_for_cycles_seldom()
    sys.setswitchinterval(_TURN_S)


_not_swept: set[int] = set()


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001  the signature is gunicorn's
    """What the process counted stays, its files go; those that are read just now go with the next one's."""
    _not_swept.add(worker.pid)
    _not_swept.difference_update([pid for pid in _not_swept if sweep(Path(os.environ[_METRICS]), pid)])


def on_exit(server: Any) -> None:  # noqa: ARG001
    folder = Path(os.environ[_METRICS])
    if folder.name.startswith(_PREFIX):  # made above, not the operator's
        shutil.rmtree(folder, ignore_errors=True)
