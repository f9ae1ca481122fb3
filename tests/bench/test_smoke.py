"""The bench still runs, at its smallest. What it measures is no matter here: time is not asserted anywhere."""

import pytest

from tests.bench.__main__ import run
from tests.bench.figures import number, table
from tests.bench.size import TINY

pytestmark = [pytest.mark.system, pytest.mark.trial]


def test_the_bench_yields_its_figures() -> None:
    """Those of the parts that everything else in it is built like; the others are left to `make bench`."""
    rows = run(("intake", "pushes"), TINY)
    measured = [row.what.partition(":")[0] for row in rows]
    assert measured == [
        *["callback in"] * 4, "plan, 3 members x 2 devices", "plan", *["push, answer after 0 ms"] * 4,
    ]  # fmt: skip
    assert table(rows).count("\n") == 11


def test_a_figure_shows_three_digits_that_count() -> None:
    assert [number(it) for it in (0.814, 15.23, 152.4, 15234.0)] == ["0.81", "15.2", "152", "15,200"]
