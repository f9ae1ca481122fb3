"""The rules for Prometheus: what they name is there, and each alert has a section of the runbook."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML has no types

from proxy.metrics import exposition
from tests.docs.test_pages import ROOT, leads_somewhere
from tests.metric_catalogue import catalogue, faults

FOLDER = ROOT / "ops/prometheus"
PROMTOOL = shutil.which("promtool")
USUAL_DAY = "a day just under every limit raises nothing"
RUNBOOK = (ROOT / "docs/operations.md").read_text()


@cache
def rules() -> list[Mapping[str, Any]]:
    groups = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = [it for it in rules() if "alert" in it]
RECORDED = {it["record"]: frozenset[str]() for it in rules() if "record" in it}


@pytest.mark.parametrize("rule", rules(), ids=lambda it: it.get("alert") or it["record"])
def test_each_series_label_and_value_of_a_rule_is_the_programs(rule: Mapping[str, Any], store_url: str) -> None:
    assert not faults(rule["expr"], catalogue(store_url), RECORDED)
    shown = set(re.findall(r"\$labels\.(\w+)", str(rule.get("annotations"))))
    grouped = {name for group in re.findall(r"by \(([\w, ]+)\)", rule["expr"]) for name in group.split(", ")}
    assert shown <= grouped


@pytest.mark.parametrize("rule", ALERTS, ids=lambda it: it["alert"])
def test_each_alert_has_a_section_of_the_runbook_that_says_what_to_check_and_mend(rule: Mapping[str, Any]) -> None:
    page, heading = rule["annotations"]["runbook"].split("#")
    assert (page, heading) == ("docs/operations.md", rule["alert"].lower())
    section = RUNBOOK.partition(f"\n### {rule['alert']}\n")[2].partition("\n#")[0]
    assert [word for word in ("Meaning:", "Check:", "Mend:") if f"**{word}**" not in section] == []
    assert rule["labels"]["severity"] in {"page", "ticket"}


def test_the_runbook_has_no_section_of_an_alert_that_is_gone() -> None:
    assert set(re.findall(r"^### (AppProxy\w+)$", RUNBOOK, re.MULTILINE)) == {it["alert"] for it in ALERTS}


def test_what_the_tests_of_the_rules_expect_is_what_the_rules_say(store_url: str) -> None:
    """So that they are not stale where no promtool runs them."""
    said = {it["alert"]: it for it in ALERTS}
    for test in yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"]:
        for series in test["input_series"]:
            assert not faults(series["series"], catalogue(store_url), RECORDED), series
        for expected in test.get("alert_rule_test", []):
            rule = said[expected["alertname"]]
            for alert in expected["exp_alerts"]:
                assert alert["exp_annotations"]["runbook"] == rule["annotations"]["runbook"]
                assert alert["exp_labels"]["severity"] == rule["labels"]["severity"]
                summary = rule["annotations"]["summary"]
                for label, value in alert["exp_labels"].items():
                    summary = summary.replace(f"{{{{ $labels.{label} }}}}", value)
                assert alert["exp_annotations"]["summary"] == summary


@pytest.mark.parametrize("rule", ALERTS, ids=lambda it: it["alert"])
def test_each_alert_is_shown_to_fire_and_not_to_fire(rule: Mapping[str, Any]) -> None:
    """Silence says something only where the alert's series are there, so one day has all of them."""
    cases = yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"]
    asked = [it for case in cases for it in case.get("alert_rule_test", []) if it["alertname"] == rule["alert"]]
    assert {bool(it["exp_alerts"]) for it in asked} == {True, False}
    (usual,) = (case for case in cases if case["name"] == USUAL_DAY)
    given = {series["series"].partition("{")[0] for series in usual["input_series"]} | RECORDED.keys()
    assert set(re.findall(r"\b(?:app_proxy[\w:]+|up\b)", re.sub(r'"[^"]*"', "", rule["expr"]))) <= given


def test_the_histogram_of_the_objective_has_a_bucket_at_its_five_seconds() -> None:
    """`le` is written as Prometheus gets it: another text would match nothing, and no alert would ever be on time."""
    of_rules = set(re.findall(r'app_proxy_alert_seconds_bucket\{le="([^"]+)"\}', str(rules())))
    shown = re.findall(r'app_proxy_alert_seconds_bucket\{le="([^"]+)"\}', exposition().decode())
    assert of_rules == {"5.0"}
    assert "5.0" in shown


@pytest.mark.trial
@pytest.mark.system
@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here: the rules' names are checked, what they say is not run")
def test_promtool_finds_the_rules_right_and_their_tests_pass() -> None:
    assert PROMTOOL
    for words in (
        ["check", "rules", "rules.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "rules_test.yml"],
    ):
        done = subprocess.run([PROMTOOL, *words], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_link_of_a_rule_leads_somewhere() -> None:
    assert all(leads_somewhere(ROOT / "README.md", it["annotations"]["runbook"]) for it in ALERTS)
