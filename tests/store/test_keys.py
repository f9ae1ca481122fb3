"""The catalogue: complete, and true of what the scripts really write."""

import inspect
import re
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

from proxy.domain.lanes import Lane
from proxy.store import keys

LANE = Lane("77", "main", "apns")
SAMPLES: dict[str, Callable[[], str]] = {
    "jobs": lambda: keys.jobs(LANE),
    "retries": lambda: keys.retries(LANE),
    "pause": lambda: keys.pause(LANE),
    "probe": lambda: keys.probe(LANE),
    "shown": lambda: keys.shown(LANE, "l1"),
    "flying": lambda: keys.flying(LANE, "l1"),
    "unknown": lambda: keys.unknown(LANE, "ben"),
    "callbacks": lambda: keys.callbacks("77"),
    "seen": lambda: keys.seen("77", "c1"),
    "planned": lambda: keys.planned("77", "m1"),
    "dead_letters": lambda: keys.dead_letters("77"),
    "account": lambda: keys.account("77", "main", "ben"),
    "push_token": lambda: keys.push_token("77", "main", "apns", "a1b2"),
    "provider_token": lambda: keys.provider_token("TEAM", "KEY"),
    "ready": lambda: keys.ready("77"),
}


def catalogue() -> list[re.Pattern[str]]:
    """The rows of the module's docstring, each <placeholder> standing for any text without a colon."""
    rows = re.findall(r"^    (proxy:\S*(?: d>\S*| id>\S*)?)", inspect.getdoc(keys) or "", re.MULTILINE)
    assert len(rows) == 15
    row_texts = [re.escape(row).replace(r"\ ", " ") for row in rows]
    texts = [
        text.replace(re.escape("{appId}"), r"\{77\}").replace(re.escape("{<team>}"), r"\{TEAM\}") for text in row_texts
    ]
    return [re.compile(re.sub(r"<[^>]*>", "[^:]+", text)) for text in texts]


def test_every_function_makes_a_key_of_the_catalogue_and_every_row_has_one() -> None:
    functions = {
        name
        for name, it in vars(keys).items()
        if isinstance(it, FunctionType) and it.__module__ == keys.__name__ and not name.startswith("_")
    }
    assert {name for name in functions if not name.endswith("_prefix")} == set(SAMPLES)
    made = [sample() for sample in SAMPLES.values()]
    rows = catalogue()
    for key in made:
        assert [row for row in rows if row.fullmatch(key)], key
    for row in rows:
        assert [key for key in made if row.fullmatch(key)], row


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "provider_token"])
def test_all_keys_of_an_app_carry_its_hash_tag(name: str) -> None:
    assert re.findall(r"\{(.*?)\}", SAMPLES[name]()) == ["77"]


@pytest.mark.parametrize(
    "make",
    [
        lambda text: keys.account("77", "main", text),
        lambda text: keys.push_token("77", "main", "apns", text),
        lambda text: keys.unknown(LANE, text),
    ],
)
def test_what_users_name_enters_a_key_as_a_digest(make: Callable[[Any], str]) -> None:
    odd = make("}:*[\n ben")
    assert "ben" not in odd
    assert re.fullmatch(r"[0-9a-f]{32}", odd.rsplit(":", 1)[1])
    assert make("other") != odd
