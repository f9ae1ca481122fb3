"""The bench still runs, at its smallest. What it measures is no matter here: time is not asserted anywhere."""

import pytest

from tests.bench.__main__ import PARTS, run
from tests.bench.figures import number, table
from tests.bench.size import TINY

pytestmark = pytest.mark.system


def test_every_part_of_the_bench_yields_its_figures() -> None:
    rows = run(PARTS, TINY)
    measured = [row.what.partition(":")[0] for row in rows]
    of_the_web = ["callback in"] * 4 + ["token call"] * 4 + ["token call, remembered", "token call, asked each time"]
    ways = ["jwt, HS256", "jwt, RS256", "jwt, ES256", "introspection", "accounts"]
    proofs = [
        f"{name} {how}" for name in ("HS256", "RS256", "ES256", "EdDSA") for how in ("remembered", "verified anew")
    ]
    of_the_web[8:8] = [f"users, {it}" for it in (*ways, *proofs)]
    of_the_web += ["sign-in refused"] * 2
    assert measured == [*of_the_web, "plan, 3 members x 2 devices", "plan", *["push, answer after 0 ms"] * 4]
    assert table(rows).count("\n") == 32


def test_a_figure_shows_three_digits_that_count() -> None:
    assert [number(it) for it in (0.814, 15.23, 152.4, 15234.0)] == ["0.81", "15.2", "152", "15,200"]
