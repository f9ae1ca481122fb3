"""The document at /openapi.json: it is OpenAPI, has each route that is there and no other, and says who may call it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR  # as the OpenAPI Initiative publishes it

from proxy.domain.api_keys import Scope
from proxy.mimc.calls import CALLS, Family
from proxy.web.callers import Caller, guard_of
from proxy.web.openapi import routes_of
from proxy.web.openapi.document import document
from proxy.web.openapi.parts import NO_PROOF, USER
from tests.web.world import World, app_section, bearer, settings

Operations = dict[tuple[str, str], dict[str, Any]]
WHOLE = document()


def world_of(*families: str) -> World:
    return World(settings({"main": app_section(api=list(families))}))


def operations_of(described: dict[str, Any]) -> Operations:
    """By method and path, without the slash at its end."""
    return {
        (method.upper(), path.rstrip("/")): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }


def shown(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(world.client.get("/openapi.json").data)
    return found


def parts_named(name: str, within: object) -> Iterator[Any]:
    if isinstance(within, dict):
        yield from (value for key, value in within.items() if key == name)
        for value in within.values():
            yield from parts_named(name, value)
    elif isinstance(within, list):
        for value in within:
            yield from parts_named(name, value)


def followed(part: dict[str, Any]) -> dict[str, Any]:
    """What it refers to, or itself."""
    if "$ref" not in part:
        return part
    found: Any = WHOLE
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    assert isinstance(found, dict)
    return found


def test_it_is_openapi() -> None:
    OPENAPI_31_VALIDATOR.validate(json.loads(json.dumps(WHOLE)))
    for schema in parts_named("schema", WHOLE):
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
    for target in parts_named("$ref", WHOLE):
        followed({"$ref": target})


def test_each_operation_has_a_name_of_its_own_and_declares_what_its_path_needs() -> None:
    operations = operations_of(WHOLE)
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)
    for (_, path), operation in operations.items():
        parameters = [followed(it) for it in operation.get("parameters", [])]
        declared = {it["name"] for it in parameters if it["in"] == "path"}
        assert declared == {part[1:-1] for part in path.split("/") if part.startswith("{")}, path
        assert operation["tags"][0] in {tag["name"] for tag in WHOLE["tags"]}


@pytest.mark.parametrize("families", [[], ["push"], [family.value for family in Family]], ids=len)
def test_it_has_each_route_that_is_there_and_no_other(families: list[str]) -> None:
    world = world_of(*families)
    operations = operations_of(shown(world))
    assert operations.keys() == set(routes_of(world.app.url_map.iter_rules()))
    opened = {(call.method, call.path.replace("<", "{").replace(">", "}")) for call in CALLS if call.family in families}
    assert opened <= {(method.upper(), path) for path, it in shown(world)["paths"].items() for method in it}


def test_the_whole_document_is_that_of_a_service_which_opens_everything() -> None:
    assert shown(world_of(*Family)) == json.loads(json.dumps(WHOLE))


def test_it_says_who_may_call() -> None:
    world = world_of(*Family)
    guards = {
        route: guard_of(world.app.view_functions[rule.endpoint])
        for rule in world.app.url_map.iter_rules()
        for route in routes_of([rule])
    }
    scopes = {(call.method, call.path.replace("<", "{").replace(">", "}").rstrip("/")): call.scope for call in CALLS}
    for route, operation in operations_of(WHOLE).items():
        guard, security = guards[route], operation["security"]
        assert guard
        assert ("servers" in operation) is (guard.caller in (Caller.OPERATOR, Caller.BALANCER)), route
        services = [it["service"] for it in security if "service" in it]
        users = guard.caller in (Caller.USER, Caller.CLIENT)
        assert [it for it in security if "service" not in it] == (USER if users else NO_PROOF), route
        of_devices = Scope.DEVICES_READ if route[0] == "GET" else Scope.DEVICES_WRITE
        scope = scopes.get(route, of_devices) if guard.caller is Caller.CLIENT else None
        assert services[:1] == ([[scope]] if scope else []), route


def test_a_reader_asks_again_only_for_another_version() -> None:
    client = world_of("push").client
    first = client.get("/openapi.json")
    assert (first.status_code, first.content_type) == (200, "application/json")
    assert first.headers["Cache-Control"] == "public, max-age=300"
    again = client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert client.get("/openapi.json", headers={"If-None-Match": '"another"'}).status_code == 200
    assert client.head("/openapi.json").headers["ETag"] == first.headers["ETag"]


def test_an_address_may_not_ask_without_end() -> None:
    world = world_of()
    world.admission.spent["client_per_address", "127.0.0.1"] = 3.0
    assert world.client.get("/openapi.json").status_code == 429


def test_nothing_of_it_is_loaded_before_it_is_asked_for_nor_of_mimc_where_that_is_closed() -> None:
    program = (
        "import sys; from tests.web.world import World; world, parts = World(), 'proxy.web.openapi.'\n"
        "assert not [it for it in sys.modules if it.startswith(parts)]\n"
        "assert world.client.get('/openapi.json').status_code == 200\n"
        "print([it for it in sys.modules if it.startswith(('proxy.mimc.calls', parts))])"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "openapi.own" in loaded
    assert "mimc" not in loaded.replace("'proxy.", "")


def test_it_tells_nothing_of_the_settings() -> None:
    world = world_of(*Family)
    text = world.client.get("/openapi.json", headers=bearer()).text
    section = world.settings.apps["main"]
    assert section.app_id not in text
    assert "chat.example.com" not in text
