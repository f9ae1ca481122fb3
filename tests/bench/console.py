"""What the console costs: web and store while no page is open, and while one is asked for every two seconds.

python -m tests.bench console [--check]
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from proxy.domain.decisions import Result
from proxy.domain.figures import MESSAGES, seconds_within, settled
from proxy.store.server.figures import FiguresKeeper
from tests.bench.figures import Row, Spread
from tests.bench.processes import SinkRig, cores, pin, running_seconds
from tests.bench.size import Size
from tests.store.samples import with_redis
from tests.system.rig import OTHER, offline, push_token

PAGES = ("now", "lanes")  # those that go on asking, and are open to all who reach the listener
_EVERY_S = 2.0  # as templates/console/live.html has it
_MOST = 1.0  # per cent of a core that an open page may take
_WARM_S = 4.0


def measure(rig: SinkRig, size: Size) -> list[Row]:
    web = rig.start_web(workers=1)
    worker = rig.start_worker()
    rig.register("alice", "phone", push_token(), app_id=OTHER).raise_for_status()
    for number in range(20):
        rig.post(offline("bob", "alice", "hello", number, app_id=OTHER), OTHER).raise_for_status()
    rig.settled(OTHER)
    _add_history(rig.store_address)
    for process in (web, rig.store):
        pin(process, cores()[0])
    time.sleep(_WARM_S)
    closed, opened = list[float](), {page: list[float]() for page in PAGES}
    for _ in range(size.push_rounds):  # side by side
        closed.append(_share(rig, (), size.idle_s))
        for page, shares in opened.items():
            shares.append(_share(rig, (page,), size.idle_s) - closed[-1])
    worker.stop()
    return [
        Row("web and store, no page open: % of a core", Spread.of(closed)),
        *(
            Row(f"the page {page} open: % of a core more", Spread.of(shares), most=_MOST)
            for page, shares in opened.items()
        ),
    ]


def _share(rig: SinkRig, pages: Sequence[str], seconds: float) -> float:
    """Of a core, in per cent, that web and store used for so long, while `pages` were asked for as browsers do."""
    watched = (rig.processes["web"], rig.store)
    used, began, tags = sum(map(running_seconds, watched)), time.monotonic(), dict.fromkeys(pages, "")
    while (left := began + seconds - time.monotonic()) > 0:
        for page in pages:
            answer = rig.http.get(
                f"{rig.operator}/console/live/{page}", headers={"If-None-Match": tags[page]}, timeout=10
            )
            assert answer.status_code in {200, 304}, answer.status_code
            tags[page] = answer.headers["ETag"]
        time.sleep(min(left, _EVERY_S))
    return (sum(map(running_seconds, watched)) - used) / (time.monotonic() - began) * 100


def _add_history(url: str) -> None:
    """Of a day, so that plots have their lines."""

    async def adding(redis: object) -> None:
        keeper, now = FiguresKeeper(redis), time.time()
        for age_s in (*range(86_400, 3600, -900), *range(3600, 0, -60)):
            sums = {MESSAGES: 300, seconds_within(0.02): 290, seconds_within(1.0): 10}
            sums |= {settled("other", "apns", Result.ACCEPTED): 299, settled("other", "apns", Result.RETRY): age_s % 17}
            await keeper.add(sums, datetime.fromtimestamp(now - age_s, UTC))

    with_redis(url, adding)
