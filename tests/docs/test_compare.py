"""docs/compare.md: each cell about another project says where it was read, at the commit that the page names."""

import re

import pytest

from tests.docs.test_pages import ROOT

PAGE = (ROOT / "docs/compare.md").read_text()
VERSIONS = dict(
    re.findall(r"^\| \[[^\]]+\]\(https://github\.com/(\S+?)\) \|.*?\b([0-9a-f]{7}), 20", PAGE, re.MULTILINE)
)
TABLE = PAGE.partition("| | this |")[2].partition("\n\n")[0]
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in TABLE.splitlines()[2:]]


def test_every_row_has_a_cell_for_each_project_of_the_page() -> None:
    assert len(VERSIONS) == 5
    assert len(ROWS) > 12
    assert [row[0] for row in ROWS if len(row) != 2 + len(VERSIONS)] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_cell_leads_to_where_it_was_read(row: list[str]) -> None:
    _, ours, *theirs = row
    assert re.search(r"\[[^\]]+\]\([^)]+\)", ours) or ours == "Python"
    for cell, (repository, commit) in zip(theirs, VERSIONS.items(), strict=True):
        links = re.findall(r"\]\((\S+?)\)", cell)
        assert links
        for link in links:
            assert re.fullmatch(rf"https://github\.com/{repository}/blob/{commit}[0-9a-f]{{33}}/\S+", link)
