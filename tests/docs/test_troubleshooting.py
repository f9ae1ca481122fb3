"""docs/troubleshooting.md: what it says that one sees is said somewhere in the program."""

import re

from tests.docs.test_pages import ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text()
SYMPTOMS = [it for row in re.findall(r"^\| (.*?) \|", PAGE, re.MULTILINE) for it in re.findall(r"`([^`]+)`", row)]
OF_OTHERS = {"app-proxy: command not found", "/metrics", "/readyz"}  # the shell's words; addresses


def test_every_symptom_that_is_quoted_is_the_program_s_own_word() -> None:
    program = "\n".join(it.read_text() for top in ("proxy", "config") for it in (ROOT / top).rglob("*.py"))
    parts = [part.strip() for it in SYMPTOMS if it not in OF_OTHERS for part in re.split(r"\.\.\.|: ", it)]
    assert len(parts) > 12
    assert [it for it in parts if it and it not in program] == []
