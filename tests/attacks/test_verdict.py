"""What counts as a miss; and the attackers' own parts that need no service."""

import json
import re

import pytest

from tests.attacks.attacker import numbered
from tests.attacks.kinds import ATTACKS, FLOODS, Flood, addresses
from tests.attacks.verdict import Calls, Round, Row, line

QUICK, SLOW = ([float(ms)] * 100 for ms in (2, 7))


def seen(ms: list[float], refusals: dict[str, int] | None = None, not_pushed: int = 0) -> Round:
    return Round(Calls(ms, refusals or {}), Calls(QUICK, {}), not_pushed)


@pytest.mark.parametrize(
    ("name", "under", "why"),
    [
        ("idle", seen(QUICK), ""),
        ("idle", seen(SLOW), "p99 is 3.50 times"),
        ("idle", seen(QUICK, {"503": 1}), "1 of 100 callbacks refused: 1 x 503"),
        ("idle", seen(QUICK, not_pushed=1), "1 callbacks answered 200 reached no phone"),
        ("sign-in-flood", seen(SLOW), "p99 is 3.50 times"),
        ("sign-in-loop", seen(SLOW), ""),
        ("sign-in-loop", seen(QUICK, {"TimeoutError": 1}), "1 x TimeoutError"),
    ],
)
def test_a_row_names_what_is_missed(name: str, under: Round, why: str) -> None:
    row = Row(ATTACKS[name], 40, False, seen(QUICK), under)
    assert why in "; ".join(row.faults)
    assert bool(row.faults) == bool(why)
    assert ("**miss**" in line(row)) == bool(why)


def test_the_short_form_looks_at_no_times() -> None:
    assert not Row(ATTACKS["idle"], 40, False, seen(QUICK), seen(SLOW), times=False).faults


def test_a_flood_s_request_is_whole_and_another_one_each_time() -> None:
    for how in (attack.how for attack in FLOODS if isinstance(attack.how, Flood)):
        first, second = numbered(how.request), numbered(how.request)
        assert first != second
        head, _, body = first.partition("\r\n\r\n")
        said = re.search(r"Content-Length: (\d+)", head)
        assert len(body) == (int(said[1]) if said else 0)
        assert not body or json.loads(body)["account"].startswith("stranger-")


def test_each_attacking_address_lies_in_a_network_of_its_own() -> None:
    assert len({address.rpartition(".")[0] for address in addresses(3, many=True)}) == 200
    assert addresses(3, many=False) == addresses(3, many=True)[:1]
