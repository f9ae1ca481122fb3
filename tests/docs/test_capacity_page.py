from tests.docs.capacity_page import PAGE, written
from tests.docs.capacity_plot import PLOT, drawn


def test_the_page_on_capacity_is_computed_from_what_was_measured() -> None:
    """Where benchmarks.md has other figures, `make capacity` writes the tables anew."""
    assert written(PAGE.read_text()) == PAGE.read_text()


def test_so_is_its_plot() -> None:
    assert drawn() == PLOT.read_text()
