"""The software bill of materials: `python tools/sbom.py > sbom.json` (make sbom). CycloneDX 1.6, as JSON.

What the service needs of requirements.lock, with the hashes by which pip checks each file. Which package needs which is
the lock's own word ("via"), so no resolver is asked and no network. Neither time nor chance is in it: one lock, one
document. What lies beneath (Python, libc) is the image's; a scanner of images finds it.
"""

import json
import re
import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run with -I, as the others here

from tools.runtime_lock import LOCK, OURS, needed

ROOT = LOCK.parent
_ENTRY = re.compile(r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)(?: ; (.*?))? \\$", re.MULTILINE)
_NEEDED_BY = re.compile(r"#\s+(?:via )?(\S.*)$", re.MULTILINE)


def document(lock: str, version: str) -> "dict[str, object]":
    """The bill of the service of this version, from the text of requirements.lock."""
    text = needed(lock, [])
    starts = [found.start() for found in _ENTRY.finditer(text)]
    entries = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    ours = {"type": "application", "bom-ref": OURS, "name": "mimc-app-proxy", "version": version,
            "purl": f"pkg:pypi/mimc-app-proxy@{version}", "licenses": [{"license": {"id": "Apache-2.0"}}]}  # fmt: skip
    components = [_component(entry) for entry in entries]
    refs = [(str(it["name"]), str(it["bom-ref"])) for it in components]  # a name is there twice where a marker decides
    needs: dict[str, set[str]] = {ref: set() for _, ref in [*refs, (OURS, OURS)]}
    for entry, (_, needed_one) in zip(entries, refs, strict=True):
        for user in _NEEDED_BY.findall(entry):
            for name, ref in [*refs, (OURS, OURS)]:
                if name == user:
                    needs[ref].add(needed_one)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, version + text)}",
        "version": 1,
        "metadata": {"component": ours},
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": sorted(them)} for ref, them in sorted(needs.items())],
    }


def _component(entry: str) -> "dict[str, object]":
    found = _ENTRY.match(entry)
    if found is None:
        raise ValueError(f"no entry of the lock: {entry[:80]}")
    name, version, marker = found.groups()
    purl = f"pkg:pypi/{name}@{version}"
    component: dict[str, object] = {
        "type": "library",
        "bom-ref": purl + (f"#{marker}" if marker else ""),
        "name": name,
        "version": version,
        "purl": purl,
        # of each file that PyPI has of it, whatever the platform
        "hashes": [{"alg": "SHA-256", "content": it} for it in re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)],
    }
    if marker:
        component["properties"] = [{"name": "python:marker", "value": marker}]
    return component


def version() -> str:
    (found,) = re.findall(r'^__version__ = "(.*)"$', (ROOT / "proxy/__init__.py").read_text(), re.MULTILINE)
    return str(found)


if __name__ == "__main__":
    json.dump(document(LOCK.read_text(encoding="utf-8"), version()), sys.stdout, indent=2)
    sys.stdout.write("\n")
