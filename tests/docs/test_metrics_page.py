import pytest

from tests.docs.metrics_page import PARTS, page
from tests.docs.test_pages import ROOT
from tests.metric_catalogue import catalogue, faults


def test_the_page_has_what_the_program_counts_as_it_is_now(store_url: str) -> None:
    known = catalogue(store_url)
    assert (ROOT / "docs/metrics.md").read_text() == page(known), "make metrics-page"
    assert {it.where for it in known} == set(PARTS)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("rate(app_proxy_alert_seconds_bucket{le='5.0'}[5m])", []),
        ('app_proxy_callbacks_total{result="unavailable", job="web"}', []),
        ("app_proxy_alert_second_bucket", ["no series app_proxy_alert_second_bucket"]),
        ('app_proxy_store_up{app="main"}', ["app_proxy_store_up has no label app"]),
        ('app_proxy_callbacks_total{result="unavailible"}', ['no result="unavailible"']),
        ("sum by (chanel) (app_proxy_jobs_waiting)", ["no label chanel"]),
        ("vector(1)", ["names no series of ours"]),
    ],
)
def test_an_expression_that_names_what_is_not_there_is_found(
    store_url: str, expression: str, expected: list[str]
) -> None:
    found = faults(expression, catalogue(store_url), {})
    assert found[: len(expected)] == expected
    assert bool(found) == bool(expected)
