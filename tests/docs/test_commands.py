"""The commands that the pages tell a reader to paste, run as they are against a service on the emulators.

A block fenced as `sh` is run; the `text` block after it is what it prints, with `...` for what differs each time. A
block fenced as `sh until it shows` is run again until it prints something. All blocks of a page share one shell.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.test_run import Run, running

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("docs/callbacks.md", "docs/api.md")
_BLOCK = re.compile(r"^```sh([^\n]*)\n(.*?)^```$(?:\s*^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
_MARK = "-- the end of a block --"
_LONGEST_S = 300

pytestmark = pytest.mark.system


@dataclass(frozen=True)
class Block:
    """Commands, and what they print; None where the page does not say."""

    commands: str
    printed: str | None
    repeated: bool

    def script(self) -> str:
        if not self.repeated:
            return f"{self.commands}echo '{_MARK}'\n"
        return (
            f'until SHOWN=$(\n{self.commands}) && [ -n "$SHOWN" ]; do sleep 0.1; done\n'
            f"printf '%s\\n' \"$SHOWN\"\necho '{_MARK}'\n"
        )


@pytest.fixture(scope="module")
def service() -> Iterator[Run]:
    with tempfile.TemporaryDirectory(prefix="docs-", dir="/tmp") as folder, running(Path(folder) / "state") as run:
        run.until_up()
        yield run


@pytest.mark.parametrize("page", PAGES)
def test_each_command_of_a_page_prints_what_the_page_says(service: Run, page: str) -> None:
    blocks = blocks_of((ROOT / page).read_text())
    assert blocks
    for block, printed in zip(blocks, outputs(blocks, service), strict=True):
        if block.printed is not None:
            assert fits(printed, block.printed), f"{block.commands}\nprinted:\n{printed}\nthe page:\n{block.printed}"


def test_what_a_block_prints_may_differ_only_where_the_page_has_three_dots() -> None:
    assert fits('{"code":200,"id":17}\n', '{"code":200,...}\n')
    assert not fits('{"code":404,"id":17}\n', '{"code":200,...}\n')
    assert not fits("one\ntwo\n", "one\n")


def blocks_of(page: str) -> list[Block]:
    found = _BLOCK.findall(page)
    return [Block(commands, printed or None, options == " until it shows") for options, commands, printed in found]


def outputs(blocks: Sequence[Block], service: Run) -> list[str]:
    """What each block prints, all of them in one shell, in the folder of the project."""
    script = at_home("".join(block.script() for block in blocks), service)
    done = subprocess.run(
        ["sh", "-u"], input=script, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=_LONGEST_S,
        check=False,
    )  # fmt: skip
    *printed, rest = done.stdout.split(f"{_MARK}\n")
    assert len(printed) == len(blocks), f"{rest}\n{done.stderr}"
    return printed


def at_home(script: str, service: Run) -> str:
    """The script with the places of this service instead of the usual ones, and this Python."""
    journal = re.search(r"its journal: (\S+)/_emulator/journal", service.said)
    assert journal, service.said
    places = {
        "STATE=.state\n": f"STATE={service.state}\n",
        "WEB=http://127.0.0.1:8080\n": f"WEB={service.address('web')}\n",
        "APNS=http://127.0.0.1:8604\n": f"APNS={journal[1]}\n",
        ".venv/bin/app-proxy": f"{sys.executable} -m proxy",
        ".venv/bin/python": sys.executable,
    }
    assert all(usual in script for usual in ("STATE=.state\n", "WEB=http://127.0.0.1:8080\n"))
    usual_places = re.compile("|".join(map(re.escape, places)))  # in one pass: what is put in may have them, too
    return usual_places.sub(lambda found: places[found[0]], script)


def environment() -> dict[str, str]:
    """Ours without what would lead curl or the command elsewhere."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("APP_PROXY_") and not name.lower().endswith("_proxy")
    }


def fits(printed: str, expected: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in expected.split("..."))
    return re.fullmatch(pattern, printed, re.DOTALL) is not None
