"""No input is a fault: those that were one once, those that reach most, and new ones for some seconds."""

import os
import random
from pathlib import Path

import pytest

from tests.fuzz import files
from tests.fuzz.__main__ import report, smallest
from tests.fuzz.loop import Fuzzer, Target
from tests.fuzz.targets import TARGETS

SECONDS = float(os.environ.get("FUZZ_SHORT_S") or 15)  # of all targets together, at most
# what they do in that time; bounded, so that a faster machine does not try what no other has
RUNS = {
    "callbacks": 6_000, "authentication": 8_000, "payloads": 500, "records": 2_000, "spool_files": 4_000,
    "bearers": 600, "mimc_control": 400, "mipush_control": 400, "apns_control": 600, "web": 800,
    "answers": 1_500, "sender": 400, "mimc_api": 400,
}  # fmt: skip
SEED = int(os.environ.get("SEED") or 1)  # the same dice everywhere; `make fuzz` rolls new ones


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_is_a_fault(name: str) -> None:
    target = TARGETS[name]()
    fuzzer = Fuzzer(target, random.Random(f"{SEED}/{name}"))
    fuzzer.replay([*files.read(files.found(name)), *files.read(files.corpus(name)), *target.seeds])
    fuzzer.search(SECONDS / len(TARGETS), RUNS[name])
    faults = [report(target, finding) for finding in fuzzer.findings.values()]
    assert not faults, f"SEED={SEED}\n" + "\n".join(faults)
    assert fuzzer.kept


def test_the_corpus_is_small_and_of_targets_that_exist() -> None:
    paths = [*(files.FOLDER / "corpus").iterdir(), *(files.FOLDER / "found").iterdir()]
    assert {path.stem for path in paths} <= TARGETS.keys()
    assert 0 < sum(len(content) for path in paths for content in files.read(path)) < 300_000


# the fuzzer itself


def test_what_raises_is_found_told_apart_and_can_be_saved(tmp_path: Path) -> None:
    def run(content: bytes) -> None:
        if content.startswith(b"a"):
            raise KeyError("one")
        if len(content) > 3:
            raise KeyError("another")

    fuzzer = Fuzzer(Target("stand-in", run, [b""]), random.Random(1))
    fuzzer.kept.append(b"x")
    fuzzer.replay([b"a", b"ab", b"xxxx"])
    findings = fuzzer.findings.values()
    assert [(finding.content, str(finding.error)) for finding in findings] == [(b"a", "'one'"), (b"xxxx", "'another'")]
    path = tmp_path / "found" / "stand-in.jsonl"
    for content in (b"ab\xff\n", b"a", b"a"):
        files.save(path, content)
    assert files.read(path) == [b"a", b"ab\xff\n"]
    files.replace(path, [b"b"])
    assert files.read(path) == [b"b"]


def test_an_input_that_takes_too_long_is_a_fault() -> None:
    def run(content: bytes) -> None:
        while content:
            pass

    fuzzer = Fuzzer(Target("endless", run, [b""]), random.Random(1), slow_s=0.05)
    fuzzer.replay([b"", b"x"])
    assert [type(finding.error).__name__ for finding in fuzzer.findings.values()] == ["TooSlow"]


def test_only_inputs_that_reach_something_new_are_kept_the_smallest_of_them() -> None:
    target = TARGETS["callbacks"]()
    least = smallest(target, [b"{}", b"[]", b'{"a":1}', b'{"msgType":7}', b'{"msgType":8}'])
    assert b"{}" in least
    assert b'{"msgType":8}' not in least


def test_the_search_goes_deeper_than_its_seeds() -> None:
    fuzzer = Fuzzer(TARGETS["callbacks"](), random.Random(1))
    fuzzer.replay([b'{"msgType":"OFFLINE_MSG","toAppId":1,"fromAccount":"ann","toAccount":"ben"}'])
    before = len(fuzzer.known)
    fuzzer.search(60, runs=500)
    assert before < len(fuzzer.known)
