from xml.etree import ElementTree as ET

import pytest

from tests.docs.test_pages import ROOT
from tools.picture import drawn

TEXT = (ROOT / "docs/pictures/flow.txt").read_text()


def test_the_picture_is_drawn_from_its_text_as_it_is_now() -> None:
    assert (ROOT / "docs/pictures/flow.svg").read_text() == drawn(TEXT), "make picture"


def test_every_box_and_every_word_of_the_text_is_in_the_picture() -> None:
    picture = ET.fromstring(drawn(TEXT))  # noqa: S314  our own
    texts = {it.text for it in picture.iter("{http://www.w3.org/2000/svg}text")}
    words = [
        it.strip() for line in TEXT.splitlines() if line.startswith("box") for it in line.partition(": ")[2].split("|")
    ]
    assert set(words) <= texts
    assert len([*picture.iter("{http://www.w3.org/2000/svg}line")]) == TEXT.count("\narrow ") + TEXT.count("\nboth ")


@pytest.mark.parametrize("line", ["arrow a nowhere: x", "bax a 0 0 ours: A", "box a 0 0 nobodys: A"])
def test_a_line_that_cannot_be_drawn_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=r"nowhere|bax|nobodys"):
        drawn(f"box a 0 0 ours: A\n{line}\n")
