from proxy.web.openapi.document import document
from tests.docs.calls_page import page
from tests.docs.test_pages import ROOT


def test_the_page_has_every_call_as_the_program_answers_it() -> None:
    assert (ROOT / "docs/calls.md").read_text() == page(), "make calls-page"


def test_every_call_has_a_section_with_its_members_and_answers() -> None:
    sections = {it.partition("`")[0]: it for it in page().split("### `")[1:]}
    calls = {
        f"{method.upper()} {path}": it for path, them in document()["paths"].items() for method, it in them.items()
    }
    assert sections.keys() == calls.keys()
    for title, call in calls.items():
        assert [it for it in call["responses"] if f"**{it}**" not in sections[title]] == []
        named = [it["name"] for it in call.get("parameters", ()) if "name" in it]
        assert [it for it in named if f"`{it}`" not in sections[title]] == []
    assert "`push_token`*" in sections["PUT /api/devices/{device_id}"]
    assert "service (devices:write)" in sections["PUT /api/devices/{device_id}"]
