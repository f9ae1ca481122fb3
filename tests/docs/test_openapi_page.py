import json

import yaml  # type: ignore[import-untyped]  # PyYAML has no types

from proxy.web.openapi.document import document
from tests.docs.openapi_page import page
from tests.docs.test_pages import ROOT


def test_the_page_describes_what_the_program_answers() -> None:
    text = (ROOT / "docs/openapi.yaml").read_text()
    assert text == page(), "make openapi"
    assert yaml.safe_load(text) == json.loads(json.dumps(document()))
