"""The dashboard: each of its queries names what the program has, and no two panels lie on one another."""

import json
import re

import pytest

from tests.docs.test_pages import ROOT
from tests.metric_catalogue import catalogue, faults
from tests.ops.test_rules import RECORDED

DASHBOARD = json.loads((ROOT / "ops/grafana/dashboard.json").read_text())
PANELS = [it for it in DASHBOARD["panels"] if it["type"] != "row"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda it: it["title"])
def test_each_query_of_the_dashboard_names_what_the_program_has(panel: dict[str, object], store_url: str) -> None:
    targets = panel["targets"]
    assert isinstance(targets, list)
    for target in targets:
        assert not faults(target["expr"], catalogue(store_url), RECORDED)
        shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        grouped = {name for group in re.findall(r"by \(([\w, ]+)\)", target["expr"]) for name in group.split(", ")}
        assert shown <= grouped


def test_each_panel_has_a_place_of_its_own() -> None:
    cells = [
        (place["x"] + x, place["y"] + y)
        for place in (it["gridPos"] for it in DASHBOARD["panels"])
        for x in range(place["w"])
        for y in range(place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({it["id"] for it in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
