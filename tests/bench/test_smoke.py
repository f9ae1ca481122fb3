"""The bench still runs, at its smallest. What it measures is no matter here: time is not asserted anywhere."""

import pytest

from tests.bench.__main__ import run
from tests.bench.figures import Row, Spread, number, table
from tests.bench.size import TINY


@pytest.mark.system
@pytest.mark.trial
@pytest.mark.parametrize(
    ("part", "rows"),
    [
        ("whole", 10),
        ("pushes", 6),
        ("intake", 5),
        ("starved", 6),
        ("idle", 3),
        ("console", 3),
        ("house", 3),
        ("fairness", 6),
        ("watched", 5),
    ],
)  # fmt: skip
def test_a_part_yields_its_figures(part: str, rows: int) -> None:
    """The other parts are built like `intake`; they are left to `make bench`."""
    found = run([part], TINY)
    assert len(found) == rows
    assert found[0].spread.least > 0
    assert table(found).count("\n") == rows + 1


def test_a_figure_shows_three_digits_that_count() -> None:
    assert [number(value) for value in (0.814, 15.23, 152.4, 15234.0)] == ["0.81", "15.2", "152", "15,200"]


def test_a_target_that_is_missed_is_told_in_the_table() -> None:
    slow, quick = (Row("alerts/s", Spread.of([rate]), least=100) for rate in (99, 100))
    long, short = (Row("gap", Spread.of([gap]), most=2) for gap in (2.1, 2))
    assert [row.is_missed for row in (slow, quick, long, short, Row("lines", Spread.of([9])))] == [
        True, False, True, False, False,
    ]  # fmt: skip
    assert [line.split(" | ")[3] for line in table([slow, short]).splitlines()[2:]] == [
        "**at least 100: missed**", "at most 2.00",
    ]  # fmt: skip
