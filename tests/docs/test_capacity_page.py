from tests.docs.capacity_page import PAGE, written


def test_the_page_on_capacity_is_computed_from_what_was_measured() -> None:
    """Where benchmarks.md has other figures, `python -m tests.docs.capacity_page` writes the tables anew."""
    assert written(PAGE.read_text()) == PAGE.read_text()
