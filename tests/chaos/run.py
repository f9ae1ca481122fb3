"""One run: the service as real processes, the people who write, the trouble around it, and the verdict.

The seed repeats the dice: who lives there, what is written when, which trouble begins when and how long it lasts.
How the processes interleave with it is up to the machine, so a failure may need several runs of one seed to be seen.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos import size as kinds
from tests.chaos.devices import Devices
from tests.chaos.dice import Trouble, draw_troubles
from tests.chaos.environment import Environment
from tests.chaos.fleet import Fleet
from tests.chaos.journals import Journals
from tests.chaos.messages import draw_messages
from tests.chaos.people import APP_IDS, People, draw_people
from tests.chaos.phones import write_phones
from tests.chaos.pushes import PROVIDERS
from tests.chaos.runlog import RunLog
from tests.chaos.size import Size
from tests.chaos.stores import EverySecondRig, store_of
from tests.system.clustered_rig import ClusteredRig
from tests.system.replicated_rig import ReplicatedRig
from tests.system.rig import Process, Rig

MOST_SECONDS = 15 * 60.0
RUN_LOG = "run.jsonl"
ALERTS: Mapping[str, Any] = {"withdraw": True, "badge": True}
# Backoffs are seconds here. What Mi Push may have taken, for its answer could not be read, is tried again after ten
# minutes, longer than a run: if it had not been taken, the auditor would find the alert lost.
_SOON_S = 60.0
_DOWN_AFTER_MS = 1_500  # a server of the store gets some processor time within that, on a busy machine too

Say = Callable[[str], None]


def play(seed: int, size: Size, folder: Path, say: Say) -> None:
    """Leaves run log and journals in `folder`. Raises AssertionError where something could not be played to its end."""
    deadline = time.monotonic() + MOST_SECONDS
    people = draw_people(seed, size)
    plan = draw_troubles(seed, size)
    say_plan(plan, say)
    with (
        RunLog(folder / RUN_LOG) as log,
        _rig_of(size)(
            folder,
            relay=size.relay,
            alerts={**ALERTS, "fold_s": size.fold_s},
            sandbox={},
            mipush={"unknown_targets": "accept"},
            without=["mimc"],
        ) as rig,
    ):
        log.write("run", seed=seed, started_at_ms=time.time_ns() // 1_000_000)
        _guard_words(rig, seed, size, people)
        fleet = Fleet(rig, log, store_of(rig, log), size.spool_max_bytes)
        devices = Devices(seed, list(people.values()), rig, log)
        devices.register_all()
        with Journals(rig, folder):
            say("everything runs, people begin to write")
            environment = Environment(rig, log, fleet, devices, 0.95 * size.seconds, size.slow_s)
            generator = _start_generator(rig, seed, size, folder, deadline)
            environment.begin(plan)
            environment.end(deadline)
            say(f"the faults are over, {environment.left_out} left out for want of time")
            say(f"all is written: {_ended(rig, generator, deadline)}")
            backlog = _settled(rig, fleet.spool, min(deadline, time.monotonic() + size.patience_s))
            log.write("end", backlog=backlog)
            for name in PROVIDERS:
                write_phones(folder, name, rig.phones(name))
            say(f"the end, {backlog} left to do")
        fleet.end()


def _rig_of(size: Size) -> Callable[..., Rig]:
    match size.store:
        case kinds.SENTINEL:
            return partial(ReplicatedRig, replicas=size.replicas, down_after_ms=_DOWN_AFTER_MS)
        case kinds.CLUSTER:
            return partial(ClusteredRig, replicas=size.replicas, down_after_ms=_DOWN_AFTER_MS)
        case kinds.EVERYSEC:
            return EverySecondRig
        case _:
            return Rig


def say_plan(plan: Mapping[str, Sequence[Trouble]], say: Say) -> None:
    for trouble in sorted(
        (trouble for track in plan.values() for trouble in track), key=lambda trouble: trouble.begins_s
    ):
        say(str(trouble))


def _guard_words(rig: Rig, seed: int, size: Size, people: Mapping[str, People]) -> None:
    """No log may show what people write."""
    for message in draw_messages(seed, size, list(people.values())):
        rig.secret_word("message text", message.word)


def _start_generator(rig: Rig, seed: int, size: Size, folder: Path, deadline: float) -> Process:
    order = {
        "seed": seed, "size": dataclasses.asdict(size), "port": int(rig.web.rpartition(":")[2]),
        "log": str(folder / RUN_LOG), "most_seconds": deadline - time.monotonic(),
    }  # fmt: skip
    path = folder / "generator.json"
    path.write_text(json.dumps(order))
    return rig.start("generator", [sys.executable, "-m", "tests.chaos.generator", str(path)])


def _ended(rig: Rig, generator: Process, deadline: float) -> Any:
    code = generator.popen.wait(max(deadline - time.monotonic(), 1))
    printed = generator.log.read_text()
    assert code == 0, f"the generator ended with {code}: {printed[-2000:]}"
    return json.loads(printed)


def _settled(rig: Rig, spool: Path, until: float) -> int:
    """How much work is left, which is nothing unless patience ended: files of the spool, callbacks, jobs, retries."""
    while (left := _left(rig, spool)) and time.monotonic() < until:
        time.sleep(0.1)
    return left


def _left(rig: Rig, spool: Path) -> int:
    # what leaves the spool is in the store
    return len(list(spool.glob("*.spool"))) + sum(rig.backlog(app_id, within_s=_SOON_S) for app_id in APP_IDS)
