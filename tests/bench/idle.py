"""What a worker costs that has nothing to do: with one app, with 25 and with 50, each with an APNs and a Mi Push lane.

python -m tests.bench idle [--check]
"""

import re
import time

from tests.bench.figures import Row, Spread
from tests.bench.processes import SinkRig, cores, pin, running_seconds
from tests.bench.size import Size
from tests.system.rig import MAIN, URL_SECRET

APPS = {1: 0.5, 25: 2.0, 50: 5.0}  # and at most so many per cent of a core
_WARM_S = 4.0  # imports, first looks at everything


def measure(rig: SinkRig, size: Size) -> list[Row]:
    whole = (rig.folder / "proxy.toml").read_text()
    return [_row(rig, apps, most, whole, size) for apps, most in APPS.items()]


def _row(rig: SinkRig, apps: int, most: float, whole: str, size: Size) -> Row:
    (rig.folder / "proxy.toml").write_text(_with_apps(whole, apps))
    worker = rig.start_worker()
    pin(worker, cores()[0])
    time.sleep(_WARM_S)
    shares = []
    for _ in range(size.push_rounds):
        used, began = running_seconds(worker), time.monotonic()
        time.sleep(size.idle_s)
        shares.append((running_seconds(worker) - used) / (time.monotonic() - began) * 100)
    worker.stop()
    return Row(f"idle worker, {apps} app(s) x 2 lanes: % of a core", Spread.of(shares), most=most)


def _with_apps(whole: str, count: int) -> str:
    """The settings with so many copies of the section `main`, each with an appId and a URL secret of its own."""
    found = re.search(r"\[apps\.main\].*?(?=\[apps\.other\])", whole, re.DOTALL)
    assert found
    copies = [
        found[0].replace("[apps.main", f"[apps.app{number}").replace(MAIN, f"{int(MAIN) + number}")
        .replace(URL_SECRET[MAIN], f"{URL_SECRET[MAIN]}-{number:02}")
        for number in range(count)
    ]  # fmt: skip
    return whole[: found.start()] + "".join(copies)
