"""Copies of the program with one mistake each, which the auditor has to notice.

A mistake is a small change of text that must apply exactly once: where the program has moved on, the copy cannot be
made, so that no test passes because its mistake is gone.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Mistake(NamedTuple):
    """In `path`, `right` is replaced by `wrong`."""

    path: str
    right: str
    wrong: str


MISTAKES: dict[str, Mistake] = {
    "acknowledge before settle": Mistake(
        "proxy/store/queue/streams.py",
        "        return [_entry(id_, fields) for _, entries in answer or [] for id_, fields in entries]\n",
        "        claimed = [_entry(id_, fields) for _, entries in answer or [] for id_, fields in entries]\n"
        "        if ids := [entry.id for entry in claimed]:\n"
        "            pipe = self._redis.pipeline(transaction=True)\n"
        "            await pipe.xack(stream, keys.GROUP, *ids).xdel(stream, *ids).execute()\n"
        "        return claimed\n",
    ),
    "no intake mark": Mistake("proxy/store/scripts/accept_callback.lua", "redis.call('EXISTS', KEYS[1]) == 1", "false"),
    "no plan mark": Mistake(
        "proxy/store/scripts/plan_chunk.lua", "redis.call('HSETNX', KEYS[2], mark, '1') == 1", "true"
    ),
    "bare XCLAIM heartbeat": Mistake(
        "proxy/store/scripts/heartbeat.lua", "if pending[1] and pending[1][2] == ARGV[2] then", "if pending[1] then"
    ),
    "settle without owner check": Mistake(
        "proxy/store/scripts/settle.lua", "if pending[1] and pending[1][2] == ARGV[2] then", "if pending[1] then"
    ),
    "retries come late": Mistake(
        "proxy/store/scripts/move_due.lua",
        "'ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1],",
        "'ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1] - 8000,",
    ),
    "ownership not read again": Mistake(
        "proxy/store/devices/addresses.py",
        "    async def destinations(self, ",
        "    async def destinations(self, lane, jobs):\n"
        "        memory = self.__dict__.setdefault('memory', {})\n"
        "        read = await self.destinations_now(lane, jobs)\n"
        "        for job, found in zip(jobs, read.destinations, strict=True):\n"
        "            memory.setdefault((job.account, job.device_id), found)\n"
        "        return LaneRead([memory[job.account, job.device_id] for job in jobs], read.is_paused)\n"
        "\n"
        "    async def destinations_now(self, ",
    ),
}


def build_broken(name: str, folder: Path) -> Path:
    """Make `folder` a copy of the program with that mistake. Raises LookupError where its text is not there once."""
    folder.mkdir()
    for part in ("proxy", "config"):
        shutil.copytree(ROOT / part, folder / part)  # with its bytecode, which stays valid: times are copied too
    shutil.copy2(ROOT / "wsgi.py", folder)
    mistake = MISTAKES[name]
    path = folder / mistake.path
    text = path.read_text()
    if text.count(mistake.right) != 1:
        raise LookupError(f"{name}: {mistake.path} has the text {text.count(mistake.right)} times, expected once")
    path.write_text(text.replace(mistake.right, mistake.wrong))
    return folder
