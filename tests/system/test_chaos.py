"""The short form of the chaos run: everything around the service breaks, and no promise does."""

from tests.chaos.__main__ import main


def test_nothing_is_lost_or_shown_twice_though_everything_breaks() -> None:
    assert main(["--short", "--seed", "4", "--ignore-standstill"]) == 0
