"""A callback taken for good, with every check and an fsync, against an empty view.

python -m tests.bench intake
"""

import base64
import hashlib
import itertools
import json
import time

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests import stored
from tests.bench.figures import Row
from tests.bench.processes import MeasuredRig, cpu_seconds
from tests.bench.size import Size
from tests.bench.web import Target, compare, start_servers, start_stock
from tests.system.rig import APP_SECRET, MAIN, URL_SECRET, offline

BODY_LENGTH = 700
_numbers = itertools.count(1)


def measure(rig: MeasuredRig, size: Size) -> list[Row]:
    required = {"APP_PROXY_APPS__MAIN__AUTHENTICATION": "required"}
    service, empty, empty_port = start_servers(rig, size, **required)
    ours = Target(service, rig.web_port, f"/callbacks/mimc/{URL_SECRET[MAIN]}", bodies)
    store = rig.processes["store"]
    before = cpu_seconds(store)
    stock, stock_port = start_stock(rig, size)
    others = (Target(server, port, "/", bodies) for server, port in ((empty, empty_port), (stock, stock_port)))
    rows, sent = compare("callback in", ours, next(others), size, stock=next(others), most=1.7)
    store_us = (cpu_seconds(store) - before) / sent * 1e6
    redis = rig.redis()
    streams = stored.callbacks(redis, MAIN)
    found = stored.length(redis, streams)
    if found != sent:
        raise AssertionError(f"{sent} callbacks were answered 200, {found} are stored")
    redis.delete(*streams)  # no worker shall find them later
    for process in (service, empty, stock):
        process.stop()
    note = f"{rows[0].beside}; the store's own {store_us:.0f} us, an fsync each, come on top"
    return [Row(rows[0].what, rows[0].spread, note), *rows[1:]]


def bodies(count: int) -> list[str]:
    """Unique OFFLINE_MSG callbacks of 700 bytes in the new form."""
    return [_body(next(_numbers)) for _ in range(count)]


def _body(number: int) -> str:
    message = offline(f"sender-{number % 97}", f"reader-{number % 501}", "", number, resources=["phone-1"])
    message["toResource"] = "phone-1"
    message["authentication"] = authentication(message["timestamp"], MAIN, APP_SECRET[MAIN])
    spare = BODY_LENGTH - len(json.dumps({**message, "payload": ""}))
    text = {"version": 0, "msgId": f"TEXT_{number}", "msgType": "TEXT", "timestamp": int(time.time() * 1000)}
    room = spare // 4 * 3 - len(json.dumps({**text, "payload": ""}))
    inner = json.dumps({**text, "payload": ("see you at the station " * 40)[:room]})
    message["payload"] = base64.b64encode(inner.encode()).decode()
    return json.dumps(message)


def authentication(timestamp: str, app_id: str, app_secret: str) -> str:
    """As MIMC makes it, written anew here: AES-128-ECB under MD5(appSecret) of length, "<timestamp>_<appId>", zeros."""
    said = f"{timestamp}_{app_id}".encode()
    clear = len(said).to_bytes(4, "little") + said
    key = hashlib.md5(app_secret.encode(), usedforsecurity=False).digest()
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305, theirs to choose
    return base64.b64encode(encryptor.update(clear + bytes(-len(clear) % 16)) + encryptor.finalize()).decode()
