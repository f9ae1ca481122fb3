"""What must be true of the pages themselves: short where they promise it, no dead link, no name that is gone."""

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML has no types

from proxy.cli import cli
from proxy.configuration import load_settings
from proxy.errors import BadSettings
from tests.metric_catalogue import catalogue

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FOLDERS = ["docs", "config", "README.md"]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_TEXTS = (".md", ".toml", ".py", ".lua")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_SETTINGS = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_RENAMED = re.compile(r"^\| `\[([\w.]+)\]` \| `(\w+)` \| `(\w+)` \|$", re.MULTILINE)
_TARGET = re.compile(r"(?:^ {4}|`)(?:\w+=\S+ )*make ([a-z-]+)", re.MULTILINE)
_COMMAND = re.compile(r"^ {4}app-proxy (.*)$", re.MULTILINE)
_AN_APP = """
[apps.main]
app_id = 1
app_key = "k"
app_secret = "s"
url_secret = "a-secret-of-an-address"
"""
_PLACE = re.compile(r"`((?:[a-z0-9_]+/)*(?:[a-z0-9_]+\.(?:py|toml)|[a-z0-9_]+/))`")
_TEST = re.compile(r"`(test_[a-z0-9_]+)`")
_DEFINED = re.compile(r"^def (test_[a-z0-9_]+)", re.MULTILINE)
_METRIC = re.compile(r"\bapp_proxy_\w+")
_INLINE_COMMAND = re.compile(r"`app-proxy ([a-z-]+(?: [a-z-]+)*)")
_FENCED = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_READERS: dict[str, Callable[[str], object]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
    "python": ast.parse,
}
_UNREAD = {"", "sh", "sh until it shows", "text", "swift"}
_SUFFIXES = re.compile(r"_(bucket|sum|count)$")


def test_the_readme_stays_under_150_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = _CODE.sub("", (ROOT / page).read_text())
    dead = [link for link in _LINK.findall(text) if not leads_somewhere(page, link)]
    assert not dead


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_metric_of_a_page_is_one_that_the_program_counts(page: Path, store_url: str) -> None:
    named = {_SUFFIXES.sub("", name) for name in _METRIC.findall((ROOT / page).read_text())}
    assert named <= {it.name for it in catalogue(store_url)}


@pytest.mark.parametrize("settings", _SETTINGS.findall((ROOT / "docs/users.md").read_text()))
def test_each_way_of_proving_users_is_one_that_the_start_accepts(settings: str, tmp_path: Path) -> None:
    path = tmp_path / "proxy.toml"
    path.write_text(settings + _AN_APP)
    load_settings(path, {"AUTH_JWT_SECRET": "s" * 32, "AUTH_ACCOUNTS_KEY": "k" * 32})


@pytest.mark.parametrize(("section", "old", "new"), _RENAMED.findall((ROOT / "CHANGELOG.md").read_text()))
def test_each_old_name_in_the_changelog_is_refused_with_its_new_one(
    section: str, old: str, new: str, tmp_path: Path
) -> None:
    path = tmp_path / "proxy.toml"
    path.write_text(f"{_AN_APP}\n[{section}]\n{old} = 1\n")
    with pytest.raises(BadSettings) as refused:
        load_settings(path, {})
    assert [fault for fault in refused.value.faults if f"{section}.{old}" in fault and new in fault]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_command_of_a_page_is_one_that_the_command_line_knows(page: Path) -> None:
    for line in _COMMAND.findall((ROOT / page).read_text()):
        command: click.Command = cli
        words = shlex.split(line, comments=True)
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), words[0])
            assert found, line
            command, words = found, words[1:]
        command.make_context(line, words)  # raises UsageError for an option that is gone


@pytest.mark.parametrize("page", [it for it in PAGES if it.name != "CHANGELOG.md"], ids=str)  # which has old names, too
def test_each_command_within_a_sentence_is_one_that_the_command_line_knows(page: Path) -> None:
    for words in _INLINE_COMMAND.findall((ROOT / page).read_text()):
        command: click.Command = cli
        for word in words.split():
            if isinstance(command, click.Group):
                found = command.get_command(click.Context(command), word)
                assert found, f"app-proxy {words}"
                command = found


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_block_of_code_is_well_formed(page: Path) -> None:
    """JSON, TOML, YAML and Python are read; `sh` blocks are run by test_commands.py."""
    text = (ROOT / page).read_text()
    assert text.count("\n```") % 2 == 0, "a block is not closed"
    for language, block in _FENCED.findall(text):
        assert language in {*_READERS, *_UNREAD}, language
        if reader := _READERS.get(language):
            reader(block)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_file_and_folder_that_a_page_names_is_there(page: Path) -> None:
    there = [f"/{path.relative_to(ROOT)}" for top in ("proxy", "config", "tests") for path in (ROOT / top).rglob("*")]
    named = {f"/{name.rstrip('/')}" for name in _PLACE.findall((ROOT / page).read_text())}
    tops = {f"/{path.name}" for path in ROOT.iterdir()}
    assert not [name for name in named - tops if not any(path.endswith(name) for path in there)]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_test_that_a_page_names_is_there(page: Path) -> None:
    named = set(_TEST.findall((ROOT / page).read_text()))
    assert not named or named <= {
        name for path in (ROOT / "tests").rglob("*.py") for name in _DEFINED.findall(path.read_text())
    }


def test_the_architecture_names_each_part_of_the_program() -> None:
    parts = [path for path in (ROOT / "proxy").iterdir() if not path.name.startswith(("_", "."))]
    names = [f"`{path.name}/`" if path.is_dir() else f"`{path.name}`" for path in parts]
    page = (ROOT / "docs/architecture.md").read_text()
    assert not [name for name in names if name not in page]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_target_of_make_that_a_page_names_is_one(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = _TARGET.findall((ROOT / page).read_text())
    assert not [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)]


@pytest.mark.parametrize(
    ("words", "at_most", "places"),
    [
        ("stands|aside|holdings|boarded|boarding", 13, [*FOLDERS, "proxy"]),  # names of keys in the store are left
        ("he|him|his", 3, [*FOLDERS, "proxy"]),
        ("whoever|somebody|nobody", 0, FOLDERS),
    ],
)
def test_the_words_are_plain(words: str, at_most: int, places: list[str]) -> None:
    uses = [use for name in places for use in uses_of(words, ROOT / name)]
    assert len(uses) <= at_most, "\n".join(uses)


def leads_somewhere(page: Path, link: str) -> bool:
    """A file of the project, and a heading in it where the link names one. Other hosts are not asked."""
    if re.match(r"[a-z]+:", link):
        return True
    name, _, heading = link.partition("#")
    target = (ROOT / page).parent / name if name else ROOT / page
    return target.exists() and (not heading or heading in headings(target))


def headings(page: Path) -> set[str]:
    """As GitHub names them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


def uses_of(words: str, place: Path) -> list[str]:
    """The lines that have one of the words, as `git grep -w` finds them."""
    files = sorted(path for path in place.rglob("*") if path.suffix in _TEXTS) if place.is_dir() else [place]
    found = re.compile(rf"\b(?:{words})\b")
    return [
        f"{path.relative_to(ROOT)}:{number}: {line}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if found.search(line)
    ]
