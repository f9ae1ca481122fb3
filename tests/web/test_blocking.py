"""A blocked user gets nothing, whatever proof they still hold."""

from proxy.errors import StoreUnavailable
from tests.web.world import World, bearer


def test_a_blocked_user_gets_no_token_and_registers_nothing() -> None:
    world = World()
    world.blocks.block("1000")
    for method, path in (("POST", "/api/account/token"), ("PUT", "/api/devices/phone"), ("GET", "/api/devices")):
        answer = world.client.open(path, method=method, headers=bearer("1000"), json={})
        assert (answer.status_code, answer.get_json()["code"]) == (401, 401)
    assert world.tokens.calls == []


def test_who_is_unblocked_is_as_before() -> None:
    world = World()
    world.blocks.block("1000")
    world.blocks.unblock("1000")
    assert world.client.post("/api/account/token", headers=bearer("1000")).status_code == 200


def test_while_blocks_cannot_be_looked_up_no_user_gets_a_token() -> None:
    world = World()
    world.blocks.failure = StoreUnavailable("the store does not answer")
    answer = world.client.post("/api/account/token", headers=bearer("1000"))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert world.tokens.calls == []
