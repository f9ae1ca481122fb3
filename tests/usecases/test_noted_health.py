"""What /readyz says of settings that Xiaomi will not put up with."""

import re

from proxy.usecases.noted_health import NotedHealth
from proxy.wiring.common import risks_of
from tests.web.world import MemoryState, app_section, mipush_section, settings


def test_a_section_without_channel_and_template_is_ready_and_named_with_the_dates() -> None:
    notes = risks_of(settings({"main": app_section(mipush=mipush_section())}))
    health = NotedHealth(MemoryState(), lambda: notes).check()
    assert health.ready
    assert "store" in health.details
    assert re.search("2023-02-01.*2026-08-01", health.details["apps.main.mipush.channel_id"])
    assert re.search("2026-07-01.*2026-12-31", health.details["apps.main.mipush.template"])


def test_a_whole_section_is_not_named() -> None:
    template = {"id": "M12762", "variables": {"keywords1": "sender", "keywords2": "text"}}
    whole = mipush_section(channel_id="1", template=template)
    assert risks_of(settings({"main": app_section(mipush=whole)})) == {}
