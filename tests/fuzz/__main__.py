"""make fuzz: look for new inputs in every target, keep those that reach something new, say what was found.

python -m tests.fuzz [--seconds N] [--seed N] [TARGET ...]
"""

import argparse
import os
import random
import sys
import time
import traceback
from collections.abc import Sequence

from tests.fuzz import files
from tests.fuzz.loop import Finding, Fuzzer, Target
from tests.fuzz.targets import TARGETS


def main(args: Sequence[str] | None = None) -> int:
    asked = _asked(args)
    say(f"seed {asked.seed}, {asked.seconds / len(asked.targets):.0f} s for each of {len(asked.targets)} targets")
    say(f"{'target':16}{'runs':>9}{'runs/s':>9}{'edges':>8}{'new':>6}{'inputs':>8}{'bytes':>9}  faults")
    faults = 0
    for name in asked.targets:
        faults += _fuzz(TARGETS[name](), asked.seconds / len(asked.targets), f"{asked.seed}/{name}")
    return 1 if faults else 0


def _asked(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("FUZZ_S") or 300))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], metavar="TARGET")
    asked = parser.parse_args(args)
    asked.targets = asked.targets or [*TARGETS]
    return asked


def _fuzz(target: Target, seconds: float, seed: str) -> int:
    known = [*target.seeds, *files.read(files.corpus(target.name)), *files.read(files.found(target.name))]
    fuzzer, began = Fuzzer(target, random.Random(seed)), time.monotonic()
    fuzzer.replay(known)
    before = len(fuzzer.known)
    fuzzer.search(seconds)
    took = time.monotonic() - began
    least = smallest(target, [*known, *fuzzer.kept])
    files.replace(files.corpus(target.name), least)
    say(
        f"{target.name:16}{fuzzer.runs:9}{fuzzer.runs / took:9.0f}{len(fuzzer.known):8}{len(fuzzer.known) - before:6}"
        f"{len(least):8}{sum(map(len, least)):9}  {len(fuzzer.findings)}"
    )
    for finding in fuzzer.findings.values():
        say(report(target, finding))
    return len(fuzzer.findings)


def smallest(target: Target, inputs: Sequence[bytes]) -> list[bytes]:
    """Those that reach all that all of them reach, each the smallest that reaches something."""
    again = Fuzzer(target, random.Random(0))
    again.replay(inputs)
    return again.kept


def report(target: Target, finding: Finding) -> str:
    """The fault, and where its input was saved."""
    files.save(path := files.found(target.name), finding.content)
    how = "".join(traceback.format_exception(finding.error))
    return f"{target.name}: {finding.content[:300]!r}\nsaved as {path}\n{how}"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
