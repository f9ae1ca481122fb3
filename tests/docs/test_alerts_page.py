from tests.docs.alerts_page import page
from tests.docs.test_pages import ROOT


def test_the_page_of_alerts_is_what_the_program_sends() -> None:
    assert (ROOT / "docs/alerts.md").read_text() == page()
