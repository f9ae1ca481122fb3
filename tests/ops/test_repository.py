"""What surrounds the program for its developers: CI, hooks, templates, the editor's settings."""

import configparser
import re
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML has no types

from tests.docs.test_pages import ROOT

TEMPLATES = sorted(it for it in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if it.name != "config.yml")
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
HOOKS = [
    hook for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"] for hook in repo["hooks"]
]


def test_ci_runs_what_a_developer_runs_on_the_oldest_python_and_the_newest() -> None:
    (job,) = WORKFLOW["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"}
    newest = re.findall(r"python3\.(\d+) ", (ROOT / "tools/find-python.sh").read_text())
    assert job["strategy"]["matrix"]["python"] == ["3.11", f"3.{max(map(int, newest))}"]
    assert WORKFLOW["permissions"] == {"contents": "read"}


def test_every_hook_runs_a_tool_of_make_check_and_files_that_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for hook in HOOKS:
        tool, *words = hook["entry"].split()
        assert hook["language"] == "system"
        assert f"$(BIN)/{Path(tool).name}" in makefile
        assert [it for it in words if it.startswith("tests/") and not (ROOT / it).exists()] == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda it: it.name)
def test_a_template_asks_something_under_names_of_its_own(template: Path) -> None:
    form = yaml.safe_load(template.read_text())
    asked = [it["id"] for it in form["body"] if it["type"] != "markdown"]
    assert {"name", "description", "body"} <= form.keys()
    assert asked
    assert len(asked) == len(set(asked))


def test_the_editor_keeps_to_the_width_of_ruff() -> None:
    editor = configparser.ConfigParser()
    editor.read_string("[top]\n" + (ROOT / ".editorconfig").read_text())
    assert f"line-length = {editor['*']['max_line_length']}\n" in (ROOT / "pyproject.toml").read_text()
