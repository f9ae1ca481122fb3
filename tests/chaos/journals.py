"""What the emulators saw, fetched while the run goes on: at its end it would be hundreds of megabytes at once."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.chaos.pushes import PROVIDERS
from tests.system.rig import Rig

_EVERY_S = 1.0


class Journals:
    """Copies each emulator's journal to `folder/journal-NAME.jsonl`, an entry a line; all of it when the block ends."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self._rig, self._folder = rig, folder
        self._after = dict.fromkeys(PROVIDERS, 0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read_on, name="journals", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if error is None:
            self._read()

    def _read_on(self) -> None:
        while not self._over.wait(_EVERY_S):
            self._read()

    def _read(self) -> None:
        for name in PROVIDERS:
            entries = self._rig.journal(name, self._after[name])
            if entries:
                with journal_path(self._folder, name).open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(entry, separators=(",", ":")) + "\n" for entry in entries)
                self._after[name] += len(entries)


def journal_path(folder: Path, name: str) -> Path:
    return folder / f"journal-{name}.jsonl"


def read_journal(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """Entry by entry: as a list they would be many times what the file is."""
    path = journal_path(folder, name)
    if path.exists():
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)
