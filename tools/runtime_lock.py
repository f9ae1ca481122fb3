"""What the service itself needs of requirements.lock, hashes and all: `python tools/runtime_lock.py [NAME...]`.

The lock names by whom each package is needed ("via"), so no resolver is asked. With names: those and what they need.
"""

import re
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"
OURS = "mimc-app-proxy (pyproject.toml)"
_ENTRY = re.compile(r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==", re.MULTILINE)


def needed(lock: str, names: "list[str]") -> str:
    """The entries of the lock for these packages, [] for those of the service."""
    starts = [found.start() for found in _ENTRY.finditer(lock)]
    texts = [lock[start:end] for start, end in zip(starts, [*starts[1:], len(lock)], strict=True)]
    entries = [(_name(text), set(re.findall(r"#\s+(?:via )?(\S.*)$", text, re.MULTILINE)), text) for text in texts]
    chosen = set(names) or {OURS}
    while more := {name for name, via, _ in entries if via & chosen} - chosen:
        chosen |= more
    return "".join(text for name, _, text in entries if name in chosen)


def _name(text: str) -> str:
    found = _ENTRY.match(text)
    return found[1] if found else ""


if __name__ == "__main__":
    sys.stdout.write(needed(LOCK.read_text(encoding="utf-8"), sys.argv[1:]))
