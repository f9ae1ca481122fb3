"""Calls of MIMC's API through the service, beside the token call, in turns: a user's with their kept token, a user's
message, and a service's message with an API key; MIMC is asked over TLS each time.

python -m tests.bench calls
"""

import json
import subprocess
import sys
from functools import partial
from typing import Any

from tests.bench.figures import Row
from tests.bench.processes import MeasuredRig
from tests.bench.size import Size
from tests.bench.tokens import bodies as token_bodies
from tests.bench.web import Target, compare, start_servers
from tests.system.rig import MAIN, ROOT

_UNLIMITED = {"APP_PROXY_APPS__MAIN__API": "push,history"}
_UNLIMITED |= {f"APP_PROXY_LIMITS__CLIENT_PER_{by}": "1000000/second" for by in ("ACCOUNT", "ADDRESS", "KEY")}
_UNLIMITED |= {f"APP_PROXY_LIMITS__{what}_PER_APP": "1000000/second" for what in ("PERSONAL", "GROUP")}
_SPAN = {"fromAccount": "alice", "toAccount": "bob", "utcFromTime": 1_700_000_000_000, "utcToTime": 1_700_000_060_000}
_MESSAGE = {"toAccount": "bob", "msg": "Hello", "msgType": ""}


def measure(rig: MeasuredRig, size: Size) -> list[Row]:
    service, empty, _ = start_servers(rig, size, **_UNLIMITED)
    user = {"Authorization": f"Bearer {rig.bearer('alice')}"}
    server = {"Authorization": f"Bearer {_new_key(rig)}"}
    token = Target(service, rig.web_port, "/api/account/token", token_bodies, user)
    # a message would come back as two callbacks, which are not what is measured
    silent = {"app_id": MAIN, "callback_url": None}
    mimc = rig.facts["mimc"]
    url = f"{mimc['url']}/_emulator/callbacks/urls"
    rig.http.put(url, json=silent, timeout=10, verify=mimc["ca_file"]).raise_for_status()
    rows: list[Row] = []
    for name, path, body, headers in (
        ("history of two", "/api/msg/p2p/query/", _SPAN, user),
        ("a user's message", "/api/push/p2p/", _MESSAGE, user),
        ("a service's message", "/api/push/p2p/", _MESSAGE, server),
    ):
        ours = Target(service, rig.web_port, path, partial(_bodies, body), headers)
        found, _ = compare(name, ours, token, size, against="token call's")
        rows += [found[0]]
    for process in (service, empty):
        process.stop()
    return rows


def _bodies(body: dict[str, Any], count: int) -> list[str]:
    return [json.dumps(body)] * count


def _new_key(rig: MeasuredRig) -> str:
    argv = ["keys", "add", "bench", "--scope", "push:send", "--as", "bot", "--app", "main"]
    made = subprocess.run(
        [sys.executable, "-m", "proxy", *argv, "--config", str(rig.folder / "proxy.toml")],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return made.stdout.strip()
