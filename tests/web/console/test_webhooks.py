"""The page of webhooks: where each endpoint is, what waits for it, and no secret of its address."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.domain.decisions import Result
from proxy.domain.figures import settled
from proxy.domain.webhooks import lane_of_webhook
from proxy.store.connection import Store
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.server.figures import FiguresKeeper
from tests.receiver import SECRET
from tests.store.samples import with_redis
from tests.web.console.site import FAR, Site
from tests.web.world import NOW, app_section

PATH = "/console/webhooks"
KEY = "key-in-the-address"


@pytest.fixture
def site(tmp_path: Path, store: Store, app_id: str) -> Site:
    crm = {"name": "crm", "app": "main", "url": f"https://crm.example.com:8443/{KEY}?key={KEY}",
           "secret": SECRET, "kinds": ["OFFLINE_MSG"], "accounts": ["bot"]}  # fmt: skip
    archive = {"name": "archive", "app": "main", "url": "http://[::1]:9/x", "secret": SECRET, "max_waiting": 9}
    lanes = [lane_of_webhook(app_id, "main", name) for name in ("crm", "archive")]
    return Site(tmp_path, store, lanes, apps={"main": app_section(app_id=app_id)}, webhooks=[crm, archive])


def rows(html: str) -> dict[str, str]:
    return dict(re.findall(r'<th scope="row">main/(\w+)</th>(.*?)</tr>', html, re.DOTALL))


def test_an_endpoint_has_its_host_and_nothing_else_of_its_address(site: Site) -> None:
    html = site.browser().page(PATH)
    assert re.findall(r"<code>(http[^<]*)</code>", html) == ["https://crm.example.com:8443", "http://[::1]:9"]
    assert KEY not in html
    assert SECRET not in html
    assert "<code>OFFLINE_MSG</code>" in rows(html)["crm"]
    assert "of 1 accounts and 0 groups alone" in rows(html)["crm"]
    assert "every kind" in rows(html)["archive"]


def test_an_endpoint_that_is_paused_says_why_and_what_waits(site: Site, store_url: str, app_id: str) -> None:
    lane = lane_of_webhook(app_id, "main", "crm")

    async def pausing(redis: Any) -> None:
        await RedisLaneStates(redis, "worker-1").pause(lane, "http 410", NOW, NOW + timedelta(days=1))
        await redis.execute_command("XADD", redis.layout.jobs(lane, 0), "*", "r", "a callback")
        await FiguresKeeper(redis).add({settled("main", lane.channel, Result.ACCEPTED): 3}, NOW)

    with_redis(store_url, pausing)
    found = rows(site.browser().page(PATH))
    assert ("paused" in found["crm"], "http 410" in found["crm"]) == (True, True)
    numbers = [re.sub(r"<[^>]*>", "", it) for it in re.findall(r'class="number">(.*?)</td>', found["crm"])]
    assert numbers == ["1 / 200,000", "0", "3", "0 %"]
    assert "works" in found["archive"]


def test_a_full_endpoint_is_told(site: Site, store: Store, app_id: str) -> None:
    name = store.layout.jobs(lane_of_webhook(app_id, "main", "archive"), 0)
    for _ in range(9):
        store.call(lambda redis: redis.xadd(name, {"r": "a callback"}))
    assert "full: what comes in is lost to it" in rows(site.browser().page(PATH))["archive"]


def test_without_endpoints_the_page_says_where_they_are_set(tmp_path: Path, store: Store) -> None:
    assert "[[webhooks]]" in Site(tmp_path, store).browser().page(PATH)


@pytest.mark.parametrize("path", [PATH, "/console/live/webhooks", "/console/keys"])
def test_a_stranger_sees_none_of_it(path: str, site: Site) -> None:
    assert site.browser(FAR).get(path).status_code == 403
