from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.worker.lane_bench import Logged


@pytest.fixture(autouse=True)
def logged() -> Iterator[Logged]:
    """What was logged; and a traceback for a screen would take a third of a second."""
    with capture_logs() as entries:
        yield entries
    assert "the words of ann" not in str(entries)
