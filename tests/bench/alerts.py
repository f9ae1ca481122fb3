"""What alerts cost with all that this service can do for them, beside the same without: CPU, and bytes in the store.

    python -m tests.bench.alerts [--pairs N] [--beside FOLDER]

Each variant has processes of its own and does the same work in turn. A figure is the median of the ratios within a
round; between least and most lies what holds that median in 95 of 100 cases. Work is messages between two people, and
messages to a group, for readers with an iPhone each; none is told together with another. CPU is that of web, worker
and store. FOLDER is a checkout of another version, which is measured with its defaults.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.bench.figures import Row, Spread, machine, number, table
from tests.bench.processes import SinkRig, store_of
from tests.bench.whole import CALLERS, WholeBench
from tests.system.rig import ROOT

_BARE, _DEFAULTS, _ALL, _BESIDE = "bare", "with its defaults", "with everything on", "the other version"
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    _BARE: {"APP_PROXY_ALERTS__HISTORY_MAX_BYTES": "0"},
    _DEFAULTS: {},
    _ALL: {
        "APP_PROXY_ALERTS__WITHDRAW": "true",
        "APP_PROXY_ALERTS__BADGE": "true",
        "APP_PROXY_ALERTS__FOLD_S": "60",
        "APP_PROXY_APPS__MAIN__APNS__COMMUNICATION": "true",
    },
}
_MESSAGES, _GROUPS, _MEMBERS = 1500, 4, 500
_TWO, _GROUP = "an alert between two", f"an alert of a group of {_MEMBERS}"
_WORK: Mapping[str, Callable[[WholeBench], Mapping[str, float]]] = {
    _TWO: lambda bench: bench.round(_MESSAGES, 0, CALLERS).cpu_us,
    _GROUP: lambda bench: bench.round_of_groups(_GROUPS, _MEMBERS),
}


@dataclass
class _Variant:
    """`cpu_us` by work: of each round what an alert took. `kept`: bytes that a message between two leaves."""

    rig: SinkRig
    bench: WholeBench
    cpu_us: dict[str, list[Mapping[str, float]]] = field(default_factory=lambda: {work: [] for work in _WORK})
    kept: list[float] = field(default_factory=list)

    def do(self, work: str) -> None:
        before = self._used_memory()
        self.cpu_us[work].append(_WORK[work](self.bench))
        if work == _TWO:
            self.kept.append((self._used_memory() - before) / _MESSAGES)

    def _used_memory(self) -> int:
        with store_of(self.rig) as store:
            return int(store.call(lambda redis: redis.info("memory"))["used_memory"])


def measure(pairs: int, beside: Path | None = None) -> list[Row]:
    programs = dict.fromkeys(_SETTINGS, ROOT) | ({_BESIDE: beside} if beside else {})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp")))
        variants = dict[str, _Variant]()
        for name, program in programs.items():
            rig = stack.enter_context(SinkRig(folder / str(len(variants)), program=program))
            variants[name] = _Variant(rig, WholeBench(rig, by_friends=True, **_SETTINGS.get(name, {})))
        for work in _WORK:
            for variant in variants.values():  # warm: imports, connections, the provider token
                _WORK[work](variant.bench)
            for turn in range(pairs):
                names = list(variants)[turn % len(variants) :] + list(variants)[: turn % len(variants)]
                for name in names:
                    variants[name].do(work)
    bases = [_BESIDE] if beside else [_BARE]
    compared = [(name, base) for base in bases for name in variants if name != base]
    return [*(_row(work, variants, *pair) for work in _WORK for pair in compared), *map(_bytes_row, variants.items())]


def _row(work: str, variants: Mapping[str, _Variant], name: str, base: str) -> Row:
    ours, theirs = variants[name].cpu_us[work], variants[base].cpu_us[work]
    ratios = [_sum(one) / _sum(other) for one, other in zip(ours, theirs, strict=True)]
    us = {it: median(one[it] for one in ours) for it in ("web", "worker", "store")}
    beside = ", ".join(f"{it} {number(us[it])} us" for it in us)
    return Row(f"{work}, {name} / {base}: CPU", _interval(ratios), beside)


def _bytes_row(named: tuple[str, _Variant]) -> Row:
    name, variant = named
    return Row(f"{_TWO}, {name}: bytes in the store", _interval(variant.kept))


def _sum(cpu_us: Mapping[str, float]) -> float:
    return cpu_us["web"] + cpu_us["worker"] + cpu_us["store"]


def _interval(values: Sequence[float]) -> Spread:
    """The median, and the order statistics around it that hold the true one in 95 of 100 cases (of 15: 4th and 12th).

    By the normal approximation of the binomial distribution, good from ten values on.
    """
    ordered, half = sorted(values), 0.98 * len(values) ** 0.5
    first = max(round(len(values) / 2 - half) - 1, 0)
    return Spread(median(values), ordered[first], ordered[-1 - first])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.alerts", description="what alerts cost, by ratios")
    parser.add_argument("--pairs", type=int, default=15, help="rounds of each variant")
    parser.add_argument("--beside", type=Path, help="folder of another version, with a .venv of its own or without")
    order = parser.parse_args(argv)
    if not sys.platform.startswith("linux"):
        sys.stderr.write("CPU time is read from /proc: this needs Linux\n")
        return 2
    sys.stdout.write(f"{machine()}\n\n{table(measure(order.pairs, order.beside))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
