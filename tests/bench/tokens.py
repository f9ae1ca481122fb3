"""A token call through the broker, bearer checked and MIMC asked, against an empty view.

python -m tests.bench tokens
"""

import json

from tests.bench.figures import Row
from tests.bench.processes import MeasuredRig
from tests.bench.size import Size
from tests.bench.web import Target, compare, start_servers
from tests.system.rig import MAIN


def measure(rig: MeasuredRig, size: Size) -> list[Row]:
    service, empty, empty_port = start_servers(rig, size)
    headers = {"Authorization": f"Bearer {rig.bearer('alice')}"}
    ours = Target(service, rig.web_port, "/api/account/token", bodies, headers)
    rows, _ = compare("token call", ours, Target(empty, empty_port, "/", bodies, headers), size)
    for process in (service, empty):
        process.stop()
    return rows


def bodies(count: int) -> list[str]:
    return [json.dumps({"appId": MAIN, "appAccount": "alice"})] * count
