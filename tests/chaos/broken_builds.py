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
        "proxy/store/scripts/plan_chunk.lua",
        "  claimed[lane + 1] = read and read[1] and read[1][2] or {}\n",
        "  claimed[lane + 1] = read and read[1] and read[1][2] or {}\n"
        "  for _, entry in ipairs(claimed[lane + 1]) do\n"
        "    redis.call('XACK', KEYS[places + 1 + 2 * lane], ARGV[1], entry[1])\n"
        "    redis.call('XDEL', KEYS[places + 1 + 2 * lane], entry[1])\n"
        "  end\n",
    ),
    "no intake mark": Mistake(
        "proxy/store/scripts/accept_callback.lua", "redis.call('HEXISTS', KEYS[k], name) == 1", "false"
    ),
    "no plan mark": Mistake(
        "proxy/store/scripts/plan_chunk.lua", "redis.call('HSETNX', KEYS[1], name, '1') == 1", "true"
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
    "what is shown stays": Mistake(
        "proxy/store/scripts/withdraw.lua", "    if is_shown then redis.call", "    if false then redis.call"
    ),
    "anybody may recall": Mistake(
        "proxy/store/queue/withdrawals.py",
        'named = _named(msg_id) + (_writer(notice.sender) if is_recall else b"")',
        "named = _named(msg_id)",
    ),
    "each phone counts": Mistake(
        "proxy/store/scripts/plan_chunk.lua",
        "or has(entries, string.sub(entry, TIME + 1)) then return",
        "then return",
    ),
    "no fold is due": Mistake(
        "proxy/store/scripts/plan_chunk.lua",
        "    redis.call('ZADD', KEYS[places + 2 + 2 * lane], due, as_update(record, is_due and 0 or 1))\n",
        "",
    ),
    "folded twice": Mistake(
        "proxy/store/scripts/plan_chunk.lua",
        "  redis.call('HINCRBY', key, 'count', 1)\n",
        "  redis.call('HINCRBY', key, 'count', 2)\n",
    ),
    "ownership not read again": Mistake(
        "proxy/store/devices/addresses.py",
        "    def read(\n",
        "    def read(self, lane, jobs, answers):\n"
        "        memory = self.__dict__.setdefault('memory', {})\n"
        "        found, _ = self.read_now(lane, jobs, answers)\n"
        "        for job, one in zip(jobs, found.destinations, strict=True):\n"
        "            memory.setdefault((job.account, job.device_id), one)\n"
        "        return LaneRead([memory[job.account, job.device_id] for job in jobs], found.is_paused), []\n"
        "\n"
        "    def read_now(\n",
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
