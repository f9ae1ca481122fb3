"""The chaos run: `make chaos`, `SEED=n make chaos`, `FOLD=1 make chaos`, `STORE=sentinel make chaos`.

    python -m tests.chaos [--seed n] [--messages n] [--short] [--empty-store | --store kind [--replicas n]] [--fold]
                          [--ignore-standstill] [--keep]

Starts store, emulators, web and workers on free ports of 127.0.0.1, posts callbacks as MIMC does, breaks everything
around the service by dice, and has an auditor compare what was answered with what the emulated providers saw. Exits
with 0 if no promise was broken and no lane stood still without a reason; else with 1, and logs, run log and journals
stay in a folder whose name is printed.
"""

import argparse
import random
import sys
from collections.abc import Sequence

from tests.chaos.judge import judged
from tests.chaos.size import CLUSTER, EVERYSEC, FULL, ONE_SERVER, SENTINEL, SHORT


def main(argv: Sequence[str] | None = None) -> int:
    order = _arguments().parse_args(argv)
    seed = random.SystemRandom().randrange(1_000_000) if order.seed is None else order.seed
    size = SHORT if order.short else FULL
    size = size if order.messages is None else size.with_messages(order.messages)
    size = size.with_empty_store() if order.empty_store else size
    size = size.with_folds() if order.fold else size
    size = size.with_store(order.store, order.replicas) if order.store != ONE_SERVER else size
    return judged(
        seed, size, _again(order, seed), _say, keep=order.keep, ignore_standstill=order.ignore_standstill
    )  # fmt: skip


def _again(order: argparse.Namespace, seed: int) -> str:
    options = ["--short"] if order.short else []
    options += [] if order.messages is None else ["--messages", str(order.messages)]
    options += ["--empty-store"] if order.empty_store else []
    options += ["--fold"] if order.fold else []
    if order.store != ONE_SERVER:
        options += ["--store", order.store, "--replicas", str(order.replicas)]
    return " ".join(["python -m tests.chaos --seed", str(seed), *options]) if options else f"SEED={seed} make chaos"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Break everything, and count the alerts")
    parser.add_argument("--seed", type=int, help="repeats the dice (not the interleaving); default: a random one")
    parser.add_argument("--messages", type=int, help=f"default: {FULL.messages}, with --short {SHORT.messages}")
    parser.add_argument("--short", action="store_true", help="few people, short faults: half a minute")
    store = parser.add_mutually_exclusive_group()
    store.add_argument("--empty-store", action="store_true", help="the store comes back empty once, and phones return")
    store.add_argument(
        "--store", choices=(ONE_SERVER, EVERYSEC, SENTINEL, CLUSTER), default=ONE_SERVER,
        help="one server, which may have to sync only every second; a master with two replicas and three sentinels; "
        "three masters with a replica each",
    )  # fmt: skip
    parser.add_argument("--replicas", type=int, default=1, metavar="n", help="so many must have a callback; default: 1")
    parser.add_argument("--fold", action="store_true", help="what follows an alert within 2 s is told together")
    parser.add_argument(
        "--ignore-standstill", action="store_true", help="a machine busy with other things may stand still"
    )
    parser.add_argument("--keep", action="store_true", help="leave the run's folder also when nothing was wrong")
    return parser


if __name__ == "__main__":
    sys.exit(main())
