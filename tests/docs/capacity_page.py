"""The tables of docs/capacity.md, computed from what docs/benchmarks.md says was measured.

`make capacity` writes them into the page, and draws docs/capacity.svg (capacity_plot.py).
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import number

ROOT = Path(__file__).resolve().parents[2]
PAGE, MEASURED = ROOT / "docs/capacity.md", ROOT / "docs/benchmarks.md"
_BEGIN, _END = "<!-- {}: written by make capacity -->\n", "<!-- end -->\n"


def _measured(pattern: str) -> list[float]:
    """The numbers of the one place that says so."""
    (found,) = re.findall(pattern, MEASURED.read_text())
    return [float(it) for it in ([found] if isinstance(found, str) else found)]


def _now(row: str) -> float:
    """The first figure of the row's column `now`."""
    return _measured(rf"\| {row} \| [^|]* \| ([\d.]+)")[0]


_CPU_S = _measured(r"CPU-s per 10,000 alerts: [^|]*\|[^|]*\| ([\d.]+) \+ ([\d.]+) \+ ([\d.]+) \|")
WEB_US, WORKER_US, STORE_US = [it * 100 for it in _CPU_S]
(PUSH_US,) = _measured(r"CPU for a push \d+ us to (\d+) us")  # of one more phone
(PLAN_US,) = _measured(r"(\d+) us of CPU a job")  # of one more member of a group
MESSAGE_BYTES = _now("a message between two, one device, with the defaults: bytes, keys")
(MARKS_BYTES,) = _measured(r"some (\d+) are marks")
DEVICE_BYTES = _now("a device: bytes")
CALLBACK_BYTES = _now("a callback that waits: bytes")
JOB_BYTES = _now("a job that waits, of a group of 500 with two devices each: bytes")

# what is assumed of users; change these to what you know of yours
ACTIVE, ALERTS_A_DAY, PHONES = 0.4, 30, 1.4  # of users; of an active one; of a user
PEAK = 3  # times the mean
OUTAGE_S = 3600  # so long what comes at the peak may wait
MARKS_DAYS = 2  # at most: twice relay.dedupe_ttl_s
HISTORY_GB = 0.27  # alerts.history_max_bytes, of all apps
GROWN = 2  # times the store's CPU where it has many devices: benchmarks.md, growth
BUSY = 0.6  # of a core at the peak, the rest is for what goes wrong
SPARE = 1.5  # of memory, for the copy while the log is rewritten
MASTER_GB = 24  # of one server, so that it starts again and copies itself in some minutes
USERS = (1_000_000, 10_000_000, 100_000_000)


@dataclass(frozen=True)
class Need:
    """What so many users need at their peak."""

    users: int

    @property
    def alerts_a_second(self) -> float:
        return self.users * ACTIVE * ALERTS_A_DAY / 86_400 * PEAK

    @property
    def web_cores(self) -> float:
        return self.alerts_a_second * WEB_US / 1e6 / BUSY

    @property
    def worker_cores(self) -> float:
        return self.alerts_a_second * (WORKER_US + (PHONES - 1) * PUSH_US) / 1e6 / BUSY

    @property
    def store_cores(self) -> float:
        return self.alerts_a_second * STORE_US * GROWN / 1e6 / BUSY

    @property
    def gigabytes(self) -> tuple[float, float, float]:
        """Of devices, of marks and the history, of messages that wait while a provider is away."""
        marks = self.users * ACTIVE * ALERTS_A_DAY * MARKS_DAYS * MARKS_BYTES
        waiting = self.alerts_a_second * OUTAGE_S * CALLBACK_BYTES
        return self.users * PHONES * DEVICE_BYTES / 1e9, marks / 1e9 + HISTORY_GB, waiting / 1e9

    @property
    def memory_gb(self) -> float:
        return sum(self.gigabytes) * SPARE

    @property
    def masters(self) -> int:
        return max(math.ceil(self.store_cores), math.ceil(self.memory_gb / MASTER_GB), 1)


def tables() -> dict[str, list[str]]:
    return {"costs": [*_costs()], "users": [*_users()]}


def _costs() -> Iterator[str]:
    yield from _head("what", "web", "worker", "store", "bytes in the store")
    bytes_ = f"{MESSAGE_BYTES:.0f}, of which {MARKS_BYTES:.0f} are marks"
    yield _line("a message between two, one phone", _us(WEB_US), _us(WORKER_US), _us(STORE_US), bytes_)
    yield _line("one phone more", "0", _us(PUSH_US), "", "")
    yield _line("a group of 500: one member more", "", _us(PLAN_US + PUSH_US), "", "")
    yield _line("a device", "", "", "", f"{DEVICE_BYTES:.0f}")
    yield _line("a callback that waits for the worker", "", "", "", f"{CALLBACK_BYTES:.0f}")
    yield _line("a job that waits, of a group of 500", "", "", "", f"{JOB_BYTES:.0f}")


def _users() -> Iterator[str]:
    needs = [Need(users) for users in USERS]
    yield from _head("at the peak", *(f"{users // 1_000_000} million users" for users in USERS))
    for what, values in (
        ("alerts a second", [number(it.alerts_a_second) for it in needs]),
        ("cores of web", [_up(it.web_cores) for it in needs]),
        ("cores of workers, as many workers", [_up(it.worker_cores) for it in needs]),
        ("cores of the store's masters", [_up(it.store_cores) for it in needs]),
        ("GB: devices + marks and history + waiting", [" + ".join(map(number, it.gigabytes)) for it in needs]),
        (f"GB of memory, {SPARE} times that", [number(it.memory_gb) for it in needs]),
        (f"masters of {MASTER_GB} GB, each with a replica", [str(it.masters) for it in needs]),
    ):
        yield _line(what, *values)


def written(page: str) -> str:
    """The page with its tables as they are computed."""
    for name, lines in tables().items():
        begin = _BEGIN.format(name)
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(_END)
        page = before + begin + "".join(f"{line}\n" for line in lines) + _END + after
    return page


def _head(*names: str) -> Sequence[str]:
    return _line(*names), "|---" * len(names) + "|"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _us(value: float) -> str:
    return f"{value:.0f} us"


def _up(cores: float) -> str:
    return f"{number(cores)}, so {math.ceil(cores)}"
