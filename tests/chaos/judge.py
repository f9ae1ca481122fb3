"""A run and its verdict."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.run import play
from tests.chaos.size import Size


def judged(seed: int, size: Size, again: str, say: Callable[[str], None]) -> int:
    """0 where every promise was kept, else 1; `again` is the command that repeats it."""
    say(f"seed {seed}, {size.messages} messages in {size.seconds:.0f} s; again: {again}")
    began = time.monotonic()
    # short, for a socket's path has a limit of about 100 bytes
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-", dir="/tmp"))
    play(seed, size, folder, say)
    say(f"{time.monotonic() - began:.0f} s; {folder}")
    return 0
