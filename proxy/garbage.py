"""Python's garbage collector, for a process that lives long."""

import gc


def look_for_cycles_seldom() -> None:
    """Call it once all is loaded. What runs all the time here makes no reference cycles; an exception's traceback may.

    By default the collector looks at all that is under way every 700 objects: an eighth of a worker's time with a
    backlog. And now and then at all that was ever loaded: 63 ms in which a web process answered nobody (measured).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)
