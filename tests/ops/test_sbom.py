"""The bill of materials names what the image has, each with its hashes, and what needs what."""

import json
import re
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest

from proxy import __version__
from tests.docs.test_pages import ROOT
from tools.runtime_lock import LOCK, OURS, needed


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    command = [sys.executable, "-I", str(ROOT / "tools/sbom.py")]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def test_it_names_what_the_lock_has_for_the_service_with_every_hash(bill: dict[str, Any]) -> None:
    lock = needed(LOCK.read_text(), [])
    named = [(it["name"], it["version"]) for it in bill["components"]]
    assert named == re.findall(r"^([a-z0-9._-]+)(?:\[.*?\])?==(\S+)", lock, re.MULTILINE)
    assert len(named) > 20
    hashes = [it["content"] for component in bill["components"] for it in component["hashes"]]
    assert hashes == re.findall(r"sha256:(\w+)", lock)
    assert ("flask", version("flask")) in named
    assert bill["metadata"]["component"]["version"] == __version__


def test_each_package_is_needed_by_the_service_or_by_what_it_needs(bill: dict[str, Any]) -> None:
    needs = {it["ref"]: it["dependsOn"] for it in bill["dependencies"]}
    assert needs.keys() == {OURS} | {it["bom-ref"] for it in bill["components"]}
    assert len(needs) == len(bill["components"]) + 1
    reached, waiting = set[str](), [OURS]
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting += needs[ref]
    assert reached == needs.keys()


def test_one_lock_is_one_document(bill: dict[str, Any]) -> None:
    again = subprocess.run([sys.executable, "-I", str(ROOT / "tools/sbom.py")], capture_output=True, check=True)
    assert json.loads(again.stdout) == bill
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
