"""The service's command with every call of our own code counted: `python -m tests.bench.traced FILE worker`.

At each SIGUSR1 it writes to FILE what came since the last one, as JSON: "calls" (functions begun), "resumed"
(coroutines and generators gone on with), "depth" (most of our frames at once on a stack, above the event loop),
"functions" and "modules" (different ones), and begins anew. Our own code is `proxy/` without the emulators.
"""

import asyncio
import json
import signal
import sys
import threading
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from pathlib import Path
from types import CodeType, FrameType

_LOOP = asyncio.Handle._run.__code__
_GOES_ON = CO_COROUTINE | CO_GENERATOR | CO_ASYNC_GENERATOR


class Counts:
    """Fed by sys.setprofile."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._emulators = f"{folder}/", f"{folder}/emulators/"
        self._ours: dict[CodeType, bool] = {}
        self.begin()

    def begin(self) -> None:
        self._calls = self._resumed = self._depth = 0
        self._functions: set[CodeType] = set()

    def report(self) -> dict[str, object]:
        modules = {code.co_filename for code in self._functions}
        return {
            "calls": self._calls, "resumed": self._resumed, "depth": self._depth,
            "functions": len(self._functions), "modules": len(modules),
        }  # fmt: skip

    def note(self, frame: FrameType, event: str, _arg: object) -> None:
        code = frame.f_code
        if event != "call" or not self._is_ours(code):
            return
        self._functions.add(code)
        if code.co_flags & _GOES_ON and frame.f_lasti > _begin_of(code):
            self._resumed += 1
        else:
            self._calls += 1
        self._depth = max(self._depth, self._depth_of(frame))

    def _depth_of(self, frame: FrameType) -> int:
        depth, at = 0, frame
        while at is not None and at.f_code is not _LOOP:
            depth += self._is_ours(at.f_code)
            at = at.f_back  # type: ignore[assignment]
        return depth

    def _is_ours(self, code: CodeType) -> bool:
        found = self._ours.get(code)
        if found is None:
            name = code.co_filename
            found = name.startswith(self._folder) and not name.startswith(self._emulators)
            self._ours[code] = found
        return found


def _begin_of(code: CodeType) -> int:
    """Where a coroutine's frame is when it has been made and not been run."""
    return _BEGINS.setdefault(code, _find_begin(code))


def _find_begin(code: CodeType) -> int:
    import dis  # noqa: PLC0415  for the first call of each

    for instruction in dis.get_instructions(code):
        if instruction.opname == "RETURN_GENERATOR":
            return instruction.offset + 4  # POP_TOP and RESUME follow
    return 0


_BEGINS: dict[CodeType, int] = {}


def main() -> None:
    path, *sys.argv[1:] = sys.argv[1:]
    import proxy  # noqa: PLC0415  of the folder in which this was started
    from proxy.cli import main as command  # noqa: PLC0415

    counts = Counts(Path(str(proxy.__file__)).parent)

    def write_report(number: int, frame: FrameType | None) -> None:
        draft = Path(f"{path}.new")
        draft.write_text(json.dumps(counts.report()))
        counts.begin()
        draft.replace(path)

    signal.signal(signal.SIGUSR1, write_report)
    threading.setprofile(counts.note)
    sys.setprofile(counts.note)
    command()


if __name__ == "__main__":
    main()
