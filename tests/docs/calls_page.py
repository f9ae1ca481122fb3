"""docs/calls.md: docs/openapi.yaml as a page to read, made from the program itself.

make calls-page
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from proxy.web.openapi.document import document

HEAD = """# Calls, every one

Made by `make calls-page` from what the program answers; a test compares the two. [openapi.yaml](openapi.yaml) is the
same for programs, [api.md](api.md) explains what belongs together.

{about}

Who may call: a **user** shows a bearer, or the **cookie** of a sign-in; a **service** of yours an API key, with the
scope that is named. Of members and parameters those marked * are required.
"""
Schema = Mapping[str, Any]


def page() -> str:
    whole = document()
    parts = [HEAD.format(about=whole["info"]["description"].strip())]
    for tag in whole["tags"]:
        parts += [f"## {tag['name']}", "", tag["description"], ""]
        for path, methods in whole["paths"].items():
            for method, call in methods.items():
                if tag["name"] in call.get("tags", ()):
                    parts += _call(f"{method.upper()} {path}", call, whole["components"])
    parts += ["## Common", "", "| name | what |", "|---|---|"]
    parts += [f"| {name} | {_kind(it)} |" for name, it in whole["components"]["schemas"].items()]
    return "\n".join(parts).rstrip() + "\n"


def _call(title: str, call: Schema, known: Schema) -> Iterator[str]:
    yield from (f"### `{title}`", "")
    yield from (f"{_cell(call['summary'])} {_cell(call.get('description', ''))}".strip(), "")
    yield from (f"Who: {_who(call.get('security', ()))}", "")
    rows = [_parameter(_found(it, known)) for it in call.get("parameters", ())]
    content = call.get("requestBody", {}).get("content", {})
    for media, body in content.items():
        rows += _members(body["schema"], f"body ({media})" if media != "application/json" else "body", known)
    if rows:
        yield from ("| where | name | what |", "|---|---|---|", *rows, "")
    answers = [_answer(status, _found(it, known)) for status, it in call["responses"].items()]
    yield from ("; ".join(answers) + ".", "")


def _who(ways: Sequence[Schema]) -> str:
    named = [f"{name} ({', '.join(scopes)})" if scopes else name for way in ways for name, scopes in way.items()]
    return " or ".join(dict.fromkeys(named)) or "anyone"


def _parameter(it: Schema) -> str:
    said = _kind(it.get("schema", {})) + (f". {it['description']}" if "description" in it else "")
    return f"| {it['in']} | `{it['name']}`{'*' * it.get('required', False)} | {_cell(said)} |"


def _members(schema: Schema, where: str, known: Schema) -> Iterator[str]:
    """A row for each member; of alternatives one after the other."""
    schema = _found(schema, known)
    alternatives = schema.get("oneOf") or schema.get("anyOf") or [schema]
    for number, one in enumerate(alternatives, 1):
        place = where if len(alternatives) == 1 else f"{where}, form {number}"
        members = _found(one, known).get("properties", {})
        if not members:
            yield f"| {place} | | {_cell(_kind(one))} |"
        for name, it in members.items():
            said = _kind(it) + (f". {it['description']}" if "description" in it else "")
            star = "*" if name in _found(one, known).get("required", ()) else ""
            yield f"| {place} | `{name}`{star} | {_cell(said)} |"


def _answer(status: str, it: Schema) -> str:
    return f"**{status}** {_cell(it.get('description', '')).rstrip('.')}"


def _found(it: Schema, known: Schema) -> Schema:
    """The part of the document that a reference names, or the thing itself."""
    if "$ref" not in it:
        return it
    _, _, group, name = it["$ref"].split("/")
    found: Schema = known[group][name]
    return found


def _kind(schema: Schema) -> str:
    match schema:
        case {"$ref": ref}:
            return str(ref.rpartition("/")[2])
        case {"const": value}:
            return f"`{value}`"
        case {"enum": values}:
            return ", ".join(f"`{it}`" for it in values)
        case {"anyOf": several} | {"oneOf": several}:
            return " or ".join(dict.fromkeys(_kind(it) for it in several))
        case {"type": "array"}:
            most = f", at most {schema['maxItems']}" if "maxItems" in schema else ""
            return f"list{most}: {_kind(schema.get('items', {}))}"
        case {"type": "object", "properties": members}:
            return "{" + ", ".join(f"`{name}`" for name in members) + "}"
        case {"type": "string"}:
            return "text" + _bounds(schema, "minLength", "maxLength", "characters")
        case {"type": "integer" | "number" as kind}:
            return ("whole number" if kind == "integer" else "number") + _bounds(schema, "minimum", "maximum", "")
        case {"type": kind}:
            return str(kind)
        case _:
            return "anything"


def _bounds(schema: Schema, least: str, most: str, unit: str) -> str:
    low, high = schema.get(least), schema.get(most)
    if low is None and high is None:
        return ""
    said = f"{low} to {high}" if None not in {low, high} else f"at most {high}" if low is None else f"at least {low}"
    return f", {said} {unit}".rstrip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.stdout.write(page())
