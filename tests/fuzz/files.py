"""Where inputs are kept: those that reach something new in corpus/TARGET, those that found a fault in found/TARGET."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent


def corpus(name: str) -> Path:
    return FOLDER / "corpus" / name


def found(name: str) -> Path:
    """Kept when the fault is mended: each is a regression test."""
    return FOLDER / "found" / name


def read(folder: Path) -> list[bytes]:
    return [it.read_bytes() for it in sorted(folder.glob("*"))] if folder.is_dir() else []


def save(folder: Path, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(content).hexdigest()[:16]
    path.write_bytes(content)
    return path


def replace(folder: Path, contents: Iterable[bytes]) -> None:
    """The folder holds these and no others."""
    wanted = {save(folder, content) for content in contents}
    for path in set(folder.glob("*")) - wanted:
        path.unlink()
