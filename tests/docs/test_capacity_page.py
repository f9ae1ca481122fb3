"""The page on capacity is computed from what was measured."""

import pytest

from tests.docs.capacity_page import MEASURED, PAGE, SOURCES, written


def test_the_tables_are_those_that_the_command_writes() -> None:
    assert written(PAGE.read_text()) == PAGE.read_text()


@pytest.mark.parametrize("said", SOURCES)
def test_each_figure_that_is_taken_is_one_that_was_measured(said: str) -> None:
    assert said in MEASURED.read_text()
