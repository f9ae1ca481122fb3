"""Which steps from line to line a call takes in our own code: how a fuzzer knows that an input is new."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import proxy

Edge = tuple[str, int, int]

_OURS = str(Path(proxy.__file__).parent)
_TOOL = 4  # the numbers 0 to 2 and 5 have owners


class Edges:
    """The edges since the last `taken`, each as file, line and next line."""

    def __init__(self) -> None:
        self._seen: set[Edge] = set()

    def taken(self) -> set[Edge]:
        seen, self._seen = self._seen, set()
        return seen

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside, this thread's calls are noted. Slows our own code down some ten times, others' hardly."""
        start = _monitored if sys.version_info >= (3, 12) else _traced
        stop = start(lambda file, line, following: self._seen.add((file, line, following)))
        try:
            yield
        finally:
            stop()


Note = Callable[[str, int, int], None]


def _monitored(note: Note) -> Callable[[], None]:
    """From Python 3.12 on. Code that is not ours is looked at once and never again."""
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    last: dict[CodeType, int] = {}

    def on_start(code: CodeType, _offset: int) -> object:
        if not code.co_filename.startswith(_OURS):
            return monitoring.DISABLE
        last.pop(code, None)  # a call begins at its first line, wherever the one before ended
        return None

    def on_line(code: CodeType, line: int) -> object:
        if not code.co_filename.startswith(_OURS):
            return monitoring.DISABLE
        note(code.co_filename, last.get(code, code.co_firstlineno), line)
        last[code] = line
        return None

    monitoring.use_tool_id(_TOOL, "fuzz")
    monitoring.register_callback(_TOOL, monitoring.events.PY_START, on_start)
    monitoring.register_callback(_TOOL, monitoring.events.LINE, on_line)
    monitoring.set_events(_TOOL, monitoring.events.PY_START | monitoring.events.LINE)

    def stop() -> None:
        monitoring.set_events(_TOOL, 0)
        monitoring.register_callback(_TOOL, monitoring.events.PY_START, None)
        monitoring.register_callback(_TOOL, monitoring.events.LINE, None)
        monitoring.free_tool_id(_TOOL)

    return stop


def _traced(note: Note) -> Callable[[], None]:
    """Python 3.11. The frames of code that is not ours have no tracer."""

    def on_call(frame: FrameType, event: str, arg: object) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(_OURS):
            return None
        last = code.co_firstlineno

        def on_line(frame: FrameType, event: str, arg: object) -> Any:
            nonlocal last
            if event == "line":
                note(code.co_filename, last, frame.f_lineno)
                last = frame.f_lineno
            return on_line

        return on_line

    before = sys.gettrace()
    sys.settrace(on_call)
    return lambda: sys.settrace(before)
