"""The Procfile with what a platform sets, and nothing else."""

import os
import sys
from pathlib import Path

from proxy.local.ports import free_port
from proxy.store.server.embedded import store_url
from tests.system.rig import MAIN, ROOT, URL_SECRET, Rig, offline


def test_both_lines_take_port_store_and_processes_from_the_platform_and_work(rig: Rig) -> None:
    port, operator, relay = free_port(), free_port(), free_port()
    config = rig.folder / "platform.toml"
    lines = (rig.folder / "proxy.toml").read_text().splitlines()
    config.write_text("\n".join(line for line in lines if not line.startswith(("bind", "operator_bind", "url ="))))
    variables = {
        "APP_PROXY_CONFIG": str(config),
        "APP_PROXY_SERVER__OPERATOR_BIND": f"127.0.0.1:{operator}",  # so that tests may run side by side
        "APP_PROXY_RELAY__OPERATOR_BIND": f"127.0.0.1:{relay}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "REDIS_URL": store_url(rig.folder / "store"),
        "WEB_CONCURRENCY": "3",
    }
    argv = [sys.executable, "-m", "honcho", "-f", str(ROOT / "Procfile"), "start", "-p", str(port)]
    honcho = rig.start("honcho", argv, **variables)
    url = f"http://127.0.0.1:{port}"
    rig.wait(lambda: rig.is_up(honcho, f"http://127.0.0.1:{operator}/healthz"), "the web", 60)
    rig.wait(lambda: rig.is_up(honcho, f"http://127.0.0.1:{relay}/metrics"), "the worker", 60)
    callback = offline("bob", "alice", "hello", 1)
    assert rig.http.post(f"{url}/callbacks/mimc/{URL_SECRET[MAIN]}", json=callback, timeout=10).status_code == 200
    rig.settled()
    rig.wait(lambda: honcho.log.read_text().count("Booting worker") == 3, "three web processes")
    said = honcho.log.read_text()
    assert f"http://0.0.0.0:{port}" in said
    taken = '"taken_from_platform":{"PORT":"server.bind","REDIS_URL":"store.url","WEB_CONCURRENCY":"server.workers"}'
    assert said.count(taken) == 2  # the first lines of web and worker
