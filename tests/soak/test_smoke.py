"""The soak still runs, at its smallest. Whether anything grows is no matter here: a few seconds cannot tell."""

import re
import sys
import tempfile
from pathlib import Path

import pytest

from tests.soak.__main__ import Plan, run

pytestmark = [pytest.mark.system, pytest.mark.trial]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory and open files are read from /proc")
def test_the_soak_looks_at_every_process_and_at_the_store(capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="soak-", dir="/tmp") as folder:
        run(Path(folder) / "r", Plan(4))
    printed = capsys.readouterr().out
    looked_at = re.findall(
        r"^\| ([a-z]+(?: files)?: [^|]*) \|.* (?:flat|GROWS) \|$", printed, re.MULTILINE | re.IGNORECASE
    )
    processes = ["store", "web", "web child 1", "web child 2", "worker 1", "worker 2"]
    assert looked_at == [
        *(f"{what}: {process}" for process in processes for what in ("RSS", "open files")),
        "memory: store, in use", "keys: marks", "keys: all others",
    ]  # fmt: skip
    assert "wrong" not in printed
