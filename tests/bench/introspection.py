"""Token calls whose bearer the developer's own URL knows: remembered, and asked about each time.

python -m tests.bench introspection
"""

import sys
from dataclasses import replace

from proxy.local.ports import free_port
from tests.bench.figures import Row
from tests.bench.processes import MeasuredRig, cores, pin
from tests.bench.size import Size
from tests.bench.tokens import bodies
from tests.bench.web import Target, compare, start_servers
from tests.listening import listens


def measure(rig: MeasuredRig, size: Size) -> list[Row]:
    """How much CPU, one call after the other: side by side, calls with the same bearer would share one question."""
    size = replace(size, connections=1, calm_requests=20)
    port = free_port()
    site = rig.start("whoami", [sys.executable, "-m", "tests.bench.whoami", str(port)])
    rig.wait(lambda: listens("127.0.0.1", port), "the whoami")
    pin(site, cores()[1])
    rows = []
    for name, cache_s in (("remembered", "300"), ("asked each time", "0")):
        service, empty, empty_port = start_servers(
            rig,
            size,
            APP_PROXY_AUTH__ORDER="introspection",
            APP_PROXY_AUTH__INTROSPECTION__URL=f"http://127.0.0.1:{port}/",
            APP_PROXY_AUTH__INTROSPECTION__CACHE_S=cache_s,
            APP_PROXY_LIMITS__TOKEN_PER_ACCOUNT="off",
            APP_PROXY_LIMITS__TOKEN_PER_ADDRESS="off",
        )
        headers = {"Authorization": "Bearer opaque"}
        ours = Target(service, rig.web_port, "/api/account/token", bodies, headers)
        found, _ = compare(f"token call, {name}", ours, Target(empty, empty_port, "/", bodies, headers), size)
        rows.append(found[0])
        for process in (service, empty):
            process.stop()
    site.stop()
    return rows
