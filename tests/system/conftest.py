"""Every test here starts real processes."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.rig import Rig

HERE = Path(__file__).parent
# begun first, so that at the end no core waits for one of them
LONGEST = (
    "test_run.py", "test_canaries.py", "test_plan.py", "test_intake.py", "test_provider_trouble.py",
    "test_guard.py", "test_upgrade.py", "test_lanes.py", "test_standing_still.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)
    items.sort(key=lambda item: HERE not in item.path.parents or item.path.name not in LONGEST)


@pytest.fixture
def place() -> Iterator[Path]:
    """A short folder: a socket's path has a limit of about 100 bytes, and pytest's own folders are long."""
    with tempfile.TemporaryDirectory(prefix="rig-", dir="/tmp") as folder:
        yield Path(folder) / "r"


@pytest.fixture
def rig(place: Path) -> Iterator[Rig]:
    """Store and emulators, with the short times; web and workers are started by the test."""
    with Rig(place) as it:
        yield it
