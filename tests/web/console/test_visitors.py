"""Which visitors may see and change what: every route of the console is walked, so that none can be forgotten."""

from pathlib import Path
from typing import Any

import pytest
from flask import Response
from werkzeug.routing import Rule as Route

from proxy.store.connection import Store
from proxy.web.console.rules import Rule, private, rule_of
from tests.web.console.site import FAR, ORIGIN, PASSWORD, Site, csrf_in
from tests.web.world import NOW, World, settings

PROXY = "10.0.0.9"
BEHIND: dict[str, Any] = {"limits": {"trusted_proxies": [PROXY]}}


@pytest.fixture
def site(tmp_path: Path, store: Store) -> Site:
    return made(tmp_path, store)


def made(folder: Path, store: Store, **sections: Any) -> Site:
    """With a private page of the tests' own."""
    site = Site(folder, store, **sections)
    view = private(lambda: Response("private words"))
    site.world.app.add_url_rule("/console/probe", "console.probe", view)
    return site


def routes(site: Site, rule: Rule, method: str = "GET") -> list[str]:
    """Their paths."""
    found = [it for it in of_console(site) if rule_of(view_of(site, it)) is rule and method in (it.methods or ())]
    return [path_of(it) for it in found if "static" not in it.rule and "unknown" not in it.arguments]


def of_console(site: Site) -> list[Route]:
    return [it for it in site.world.app.url_map.iter_rules() if it.rule.startswith("/console")]


def view_of(site: Site, route: Route) -> object:
    return site.world.app.view_functions[route.endpoint]


def path_of(route: Route) -> str:
    """To something that is there, where it names an app and a channel."""
    built = route.build({name: {"app": "main", "channel": "apns"}.get(name, "x") for name in route.arguments})
    assert built is not None
    return built[1]


def test_each_route_says_who_may_look_or_change_and_only_forms_are_posted(site: Site) -> None:
    for route in of_console(site):
        methods, rule = (route.methods or set()) - {"HEAD", "OPTIONS"}, rule_of(view_of(site, route))
        assert methods in ({"GET"}, {"POST"}), route
        forms = {Rule.CHANGE, Rule.OWN_FORM, Rule.LOCAL_FORM}
        assert rule in ({Rule.LOOK, Rule.PRIVATE} if methods == {"GET"} else forms), route


def test_all_who_reach_the_operators_listener_may_look(site: Site) -> None:
    for path in routes(site, Rule.LOOK):
        if path != "/console/sign-in":
            for peer in ("127.0.0.1", FAR):
                assert site.browser(peer).get(path).status_code in {200, 308}, (path, peer)


def test_nothing_of_the_console_is_on_the_public_listener(site: Site) -> None:
    client = site.world.client
    for route in of_console(site):
        for method in (route.methods or set()) - {"OPTIONS"}:
            answer = client.open(path_of(route), method=method, base_url="http://127.0.0.1:8080")
            assert answer.status_code == 404, route
            assert answer.content_type == "application/json"
            assert "Set-Cookie" not in answer.headers


def test_where_one_listener_is_all_there_is_no_console(tmp_path: Path, store: Store) -> None:
    one = {"bind": "127.0.0.1:9464", "operator_bind": "127.0.0.1:9464"}
    assert made(tmp_path, store, server=one).browser().get("/console/").status_code == 404


def test_off_means_no_pages() -> None:
    world = World(settings(console={"enabled": False}))
    assert world.client.get("/console/", base_url=ORIGIN).status_code == 404
    assert not [rule for rule in world.app.url_map.iter_rules() if "console" in rule.rule]


def test_what_is_private_is_for_this_machine_and_for_operators(site: Site) -> None:
    assert site.browser("127.0.0.1").page("/console/probe") == "private words"
    assert site.browser("::1").page("/console/probe") == "private words"
    assert site.browser("::ffff:127.0.0.1").page("/console/probe") == "private words"
    assert site.signed_in(peer=FAR).page("/console/probe") == "private words"


@pytest.mark.parametrize(
    ("of", "to", "status"),
    [("cross-site", "image", 403), ("same-site", "empty", 403), ("cross-site", "iframe", 403),
     ("cross-site", "document", 200), ("same-origin", "empty", 200), ("none", "document", 200)],
)  # fmt: skip
def test_a_page_of_another_site_has_us_search_for_nothing(site: Site, of: str, to: str, status: int) -> None:
    """A picture whose address is a search of this machine would hold a thread, unseen."""
    headers = {"Sec-Fetch-Site": of, "Sec-Fetch-Dest": to}
    assert site.browser().get("/console/probe", headers).status_code == status


def test_without_an_operator_what_is_private_is_off_for_other_machines(site: Site) -> None:
    for path in routes(site, Rule.PRIVATE):
        answer = site.browser(FAR).get(path)
        assert answer.status_code == 403, path
        assert "app-proxy operators add" in answer.text
        assert "private words" not in answer.text


def test_with_an_operator_other_machines_are_sent_to_the_sign_in(site: Site) -> None:
    site.operators.add("olga", PASSWORD, NOW)
    for path in routes(site, Rule.PRIVATE):
        answer = site.browser(FAR).get(path)
        assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (303, "/console/sign-in"), path
        part = site.browser(FAR).get(path, {"HX-Request": "true"})  # a part of a page shows no sign-in within it
        assert part.status_code == 401, path
    back = site.browser(FAR).sign_in("olga", back="/console/probe?account=a")
    assert back.headers["Location"] == "/console/probe?account=a"


@pytest.mark.parametrize(
    "name",
    ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-User", "Forwarded", "X-Real-IP", "Via"],
)
def test_a_visitor_behind_a_proxy_of_this_machine_is_not_of_this_machine(site: Site, name: str) -> None:
    assert site.browser().get("/console/probe", {name: "192.0.2.7"}).status_code == 403


def test_a_proxy_that_names_operators_is_no_visitor_before_it_is_trusted(tmp_path: Path, store: Store) -> None:
    site = made(tmp_path, store, console={"operator_header": "Remote-User"})
    assert site.browser().get("/console/probe", {"Remote-User": "olga"}).status_code == 403


@pytest.mark.parametrize("peer", ["", "unix:", "not an address", FAR])
def test_a_peer_that_is_not_known_to_be_this_machine_is_not(site: Site, peer: str) -> None:
    assert site.browser(peer).get("/console/probe").status_code == 403


def test_a_trusted_proxy_is_no_visitor_of_this_machine(tmp_path: Path, store: Store) -> None:
    site = made(tmp_path, store, limits={"trusted_proxies": ["127.0.0.0/8"]})
    assert site.browser("127.0.0.1").get("/console/probe").status_code == 403


def test_nothing_changes_unless_the_settings_allow_it(site: Site) -> None:
    browser = site.signed_in()
    for path in routes(site, Rule.CHANGE, "POST"):
        answer = browser.form("/console/", path)
        assert answer.status_code == 403, path
        assert "console.writes is off" in answer.text


def test_changes_are_for_operators_also_at_this_machine(tmp_path: Path, store: Store) -> None:
    site = made(tmp_path, store, console={"writes": True})
    site.operators.add("olga", PASSWORD, NOW)
    for path in routes(site, Rule.CHANGE, "POST"):
        browser = site.browser()
        csrf = csrf_in(browser.page("/console/sign-in"))
        assert browser.post(path, {"csrf": csrf}).status_code == 401, path


def test_a_proxy_of_the_settings_names_the_operator(tmp_path: Path, store: Store) -> None:
    console = {"writes": True, "operator_header": "X-Forwarded-User"}
    site = made(tmp_path, store, console=console, **BEHIND)
    named = {"X-Forwarded-User": "olga"}
    browser = site.browser(PROXY)
    page = browser.get("/console/", named)
    assert "olga" in page.text
    assert browser.get("/console/probe", named).text == "private words"
    change = "/console/lanes/main/apns/resume"
    assert browser.post(change, {"csrf": csrf_in(page.text)}, named).status_code == 303
    assert browser.post(change, {"csrf": csrf_in(page.text)}, {"X-Forwarded-User": "otto"}).status_code == 403
    for peer in ("127.0.0.1", FAR):  # not from a proxy: anyone can write a header
        assert "olga" not in site.browser(peer).get("/console/", named).text
    assert site.browser(FAR).get("/console/probe", named).status_code == 403


@pytest.mark.parametrize("headers", [{}, {"X-Forwarded-User": ""}, {"X-Forwarded-User": "a\u202eb"}])
def test_a_proxy_that_names_none_has_an_unknown_visitor(tmp_path: Path, store: Store, headers: dict[str, str]) -> None:
    site = made(tmp_path, store, console={"operator_header": "X-Forwarded-User"}, **BEHIND)
    assert site.browser(PROXY).get("/console/probe", headers).status_code == 403


def test_without_the_setting_no_header_names_an_operator(tmp_path: Path, store: Store) -> None:
    site = made(tmp_path, store, **BEHIND)
    assert site.browser(PROXY).get("/console/probe", {"X-Forwarded-User": "olga"}).status_code == 403


def test_two_names_in_the_header_are_none(tmp_path: Path, store: Store) -> None:
    site = made(tmp_path, store, console={"operator_header": "X-Forwarded-User"}, **BEHIND)
    answer = site.world.client.get(
        "/console/probe",
        base_url=ORIGIN,
        environ_base={"REMOTE_ADDR": PROXY},
        headers=[("X-Forwarded-User", "olga"), ("X-Forwarded-User", "otto")],
    )
    assert answer.status_code == 403
