"""Where inputs are kept: those that reach something new in corpus/TARGET, those that found a fault in found/TARGET.

One file for each target, one input a line: a JSON string whose characters are the input's bytes (latin-1).
"""

import json
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent


def corpus(name: str) -> Path:
    return FOLDER / "corpus" / f"{name}.jsonl"


def found(name: str) -> Path:
    """Kept when the fault is mended: each is a regression test."""
    return FOLDER / "found" / f"{name}.jsonl"


def read(path: Path) -> list[bytes]:
    if not path.exists():
        return []
    lines = path.read_text(encoding="ascii").splitlines()
    return [json.loads(line).encode("latin-1") for line in lines]


def save(path: Path, content: bytes) -> None:
    """The file holds this input too."""
    replace(path, [*read(path), content])


def replace(path: Path, contents: Iterable[bytes]) -> None:
    """The file holds these and no others, the smallest first, so that a change of few is a change of few lines."""
    inputs = sorted(set(contents), key=lambda content: (len(content), content))
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(content.decode("latin-1")) + "\n" for content in inputs), encoding="ascii")
