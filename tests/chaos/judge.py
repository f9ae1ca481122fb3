"""A run and its verdict."""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.auditor import audit
from tests.chaos.faults import Times
from tests.chaos.journals import read_journal
from tests.chaos.phones import stored_phones
from tests.chaos.pushes import PROVIDERS
from tests.chaos.run import RUN_LOG, play
from tests.chaos.runlog import read_run_log
from tests.chaos.size import Size


def judged(
    seed: int,
    size: Size,
    again: str,
    say: Callable[[str], None],
    *,
    keep: bool = False,
    ignore_standstill: bool = False,
) -> int:
    """0 where every promise was kept and, unless that is ignored, no lane stood still, else 1.

    `again` is the command that repeats it. The run's folder stays after a failure, and always with `keep`.
    """
    say(f"seed {seed}: {size.messages} messages in {size.seconds:.0f} s; again: {again}")
    began = time.monotonic()
    # short, for a socket's path has a limit of about 100 bytes
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-", dir="/tmp"))
    try:
        play(seed, size, folder, say)
        faults = verdict(folder, size.times, say, ignore_standstill=ignore_standstill)
    except BaseException:
        say(f"not played to its end; logs, run log and journals: {folder}; again: {again}")
        raise
    say(f"seed {seed}, {time.monotonic() - began:.0f} s")
    if faults:
        say(f"{', '.join(faults)}; logs, run log and journals: {folder}; again: {again}")
        return 1
    if keep:
        say(f"logs, run log and journals: {folder}")
    else:
        shutil.rmtree(folder)
    return 0


def verdict(folder: Path, times: Times, say: Callable[[str], None], *, ignore_standstill: bool) -> list[str]:
    """Print the auditor's table for the run in this folder; returns what speaks against the service."""
    events = read_run_log(folder / RUN_LOG)
    journals = {name: read_journal(folder, name) for name in PROVIDERS}
    found = audit(events, journals, times, phones=stored_phones(folder, PROVIDERS))
    say(found.report())
    left = [event["backlog"] for event in events if event["event"] == "end"]
    return [
        *([] if found.ok else ["promises were broken"]),
        *(["a lane stood still"] if found.stood_still and not ignore_standstill else []),
        *([] if found.due else ["nothing was due, which proves nothing"]),
        *(["nothing was told together, which proves nothing"] if times.fold_s and not found.told else []),
        *([] if left == [0] else ["work was left undone"]),
    ]
