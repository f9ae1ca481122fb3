"""What strangers without a secret can do to honest callers: `make attacks`.

    python -m tests.attacks [--seconds n] [--sockets n ...] [--addresses one|many ...] [--short] [NAME ...]

Linux only, on loopback. Starts the whole product, has honest callers post callbacks and call for tokens at an even
pace, and attacks it meanwhile from a core of its own, where there are two: sockets that are slow or silent, floods of
sign-ins and of bearers that the developer's URL is asked about. Each attack goes on for a minute, with 40, 200 and
1,000 sockets, from one address and from 200. Before each kind the same calls are made without an attack.

Prints a table. The exit code is 1 where a limit is missed: an honest caller refused or not answered within 10 s, an
alert that never came, or callbacks' p99 over three times that without the attack (not where a flood goes as fast as
its answers come). The short form looks at no times, and ends with the first miss.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.attacks.kinds import ATTACKS, SOCKETS, Attack
from tests.attacks.measure import Rounds
from tests.attacks.product import Product, cores
from tests.attacks.verdict import HEAD, Row, line
from tests.bench.figures import machine
from tests.system.rig import ROOT

_SECONDS, _SHORT_SECONDS = 60.0, 1.5
_SHORT_SOCKETS = 200  # several for each thread of the web


@dataclass(frozen=True)
class Plan:
    """Which attacks, each with these sockets and addresses. With `short` times do not count, and one product does."""

    attacks: Sequence[Attack]
    sockets: Sequence[int]
    manys: Sequence[bool]
    seconds: float
    short: bool = False
    program: Path = ROOT


def main(argv: Sequence[str] | None = None) -> int:
    order = _arguments().parse_args(argv)
    if not sys.platform.startswith("linux"):
        sys.stderr.write("each of 127.0.0.0/8 is an address of its own on Linux alone\n")
        return 2
    plan = _plan(order)
    started = time.monotonic()
    _say(f"{machine()}\n\n{HEAD}")
    missed = 0
    for row in run(plan):
        _say(line(row))
        missed += bool(row.faults)
        if plan.short and missed:
            break
    _say(f"\n{f'{missed} missed' if missed else 'all passed'}; {time.monotonic() - started:.0f} s")
    return 1 if missed else 0


def run(plan: Plan) -> Iterator[Row]:
    """A product for each kind, so that none suffers from an earlier one; in the short form one for all."""
    groups = [plan.attacks] if plan.short else [[attack] for attack in plan.attacks]
    own, others = cores()
    for attacks in groups:
        # short, for a socket's path has a limit of about 100 bytes
        with (
            tempfile.TemporaryDirectory(prefix="attacks-", dir="/tmp") as folder,
            Product(Path(folder) / "r", own, plan.program) as product,
        ):
            yield from _rows(Rounds(product, own, others), attacks, plan)


def _rows(rounds: Rounds, attacks: Sequence[Attack], plan: Plan) -> Iterator[Row]:
    rounds.calm(min(plan.seconds, 2))  # caches, pools, connections
    calm = rounds.calm(plan.seconds)
    for attack in attacks:
        for sockets in plan.sockets:
            for many in plan.manys:
                under = rounds.under(attack, sockets, many, plan.seconds)
                yield Row(attack, sockets, many, calm, under, times=not plan.short)


def _plan(order: argparse.Namespace) -> Plan:
    names = order.names or ATTACKS
    attacks = [ATTACKS[name] for name in names]
    manys = [many == "many" for many in order.addresses]
    if order.short:
        return Plan(attacks, [_SHORT_SOCKETS], [True], _SHORT_SECONDS, True, order.program)
    return Plan(attacks, order.sockets, manys, order.seconds, False, order.program)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description="Can strangers starve honest callers?")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", choices=[*ATTACKS, []], help=f"default: all of {', '.join(ATTACKS)}"
    )
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="of each round; default: %(default)g")
    parser.add_argument("--sockets", type=int, nargs="+", default=SOCKETS, help="default: 40 200 1000")
    parser.add_argument(
        "--addresses", nargs="+", choices=["one", "many"], default=["one", "many"], help="default: both"
    )
    parser.add_argument("--short", action="store_true", help="200 sockets of each kind for a moment: 40 s in all")
    parser.add_argument("--program", type=Path, default=ROOT, help="folder of the program; default: this one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
