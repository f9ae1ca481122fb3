"""What children inherit."""

import pytest

from proxy.local.environment import child_environment, without_proxy_on_loopback


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"no_proxy": "intranet"}, "intranet,127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "intranet, localhost"}, "intranet,localhost,127.0.0.1,::1"),
        ({"no_proxy": "lower", "NO_PROXY": "upper"}, "lower,127.0.0.1,localhost,::1"),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_loopback_never_goes_through_a_proxy(before: dict[str, str], after: str) -> None:
    made = without_proxy_on_loopback({**before, "https_proxy": "http://proxy:3128"})
    assert made == {"https_proxy": "http://proxy:3128", "no_proxy": after, "NO_PROXY": after}


@pytest.mark.parametrize(("before", "after"), [("", None), (" ", None), ("2", "2")])
def test_an_empty_web_concurrency_is_removed(before: str, after: str | None) -> None:
    assert child_environment({}, {"WEB_CONCURRENCY": before}).get("WEB_CONCURRENCY") == after


def test_a_childs_own_variables_win_over_the_inherited_ones() -> None:
    made = child_environment({"REDIS_URL": "unix:///ours"}, {"REDIS_URL": "redis://theirs", "HOME": "/home/somebody"})
    assert (made["REDIS_URL"], made["HOME"]) == ("unix:///ours", "/home/somebody")
