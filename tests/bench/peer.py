"""mopyapns, an APNs client that we did not write, sending one push after the other: a yardstick for any machine.

    python -m tests.bench.peer < order.json

Prints {"seconds", "cpu_s"}; the connection is open and the first push answered before the clock starts.
"""

import json
import os
import resource
import sys
import time
import uuid
from collections.abc import Mapping
from typing import Any

import apns2.client
import apns2.credentials
import apns2.payload


def send(order: Mapping[str, Any]) -> dict[str, float]:
    os.environ |= {"SSL_CERT_FILE": order["ca_file"], "NO_PROXY": "*"}
    credentials = apns2.credentials.TokenCredentials(order["key_file"], order["key_id"], order["team_id"])
    client = apns2.client.APNsClient(credentials)
    client._server, client._port = "127.0.0.1", order["port"]  # it knows no setting for another host
    _push(client, order["topic"], 0)
    started, used = time.perf_counter(), _cpu_s()
    for number in range(1, order["count"] + 1):
        _push(client, order["topic"], number)
    return {"seconds": time.perf_counter() - started, "cpu_s": _cpu_s() - used}


def _push(client: apns2.client.APNsClient, topic: str, number: int) -> None:
    """What the worker sends for a message of a group."""
    payload = apns2.payload.Payload(
        alert=apns2.payload.PayloadAlert(title="speaker", body="see you at the station"), sound="default",
        thread_id="0" * 32,
        custom={"mimc": {"conversation": "topic:21351198708203520", "sequence": str(154503794553568000 + number)}},
    )  # fmt: skip
    client.send_notification(uuid.uuid4().hex * 2, payload, topic, collapse_id=uuid.uuid4().hex)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.stdout.write(json.dumps(send(json.load(sys.stdin))))
