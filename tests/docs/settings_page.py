"""docs/settings.md, made from the program's settings; what a key means is said in config/proxy.toml.

make settings-page
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from proxy.settings import Section, Settings

FILE = Path(__file__).resolve().parents[2] / "config/proxy.toml"
HEAD = """# Settings, every key

Made by `make settings-page` from the program and [config/proxy.toml](../config/proxy.toml); a test compares them.
Which keys belong together, and why, is in [configuration.md](configuration.md).

NAME is a name of your choice. Each key can be set by a variable of the environment, too: `APP_PROXY_`, then the path
with two underscores between the levels, in upper case, as `APP_PROXY_RELAY__LEASE_S`; those of `[[webhooks]]` cannot. A
**secret** is a text, `{ env = "NAME" }` or `{ file = "path" }`. A relative path starts at the file's folder.
"""
# how the sections are called in proxy.toml whose names are the operator's
SHOWN = {
    "apps.NAME": "apps.main",
    "auth.jwt.NAME": "auth.jwt.own",
    "types.NAME": "types.order_paid",
    "words.NAME": "words.fr",
}
NO_LIMIT = 10 * 366 * 86_400  # settings/fields.py: what a duration without a limit of its own may be

_HEADER = re.compile(r"(?:# )?\[\[?([\w.]+)\]\]?")
_KEY = re.compile(r"""(?:# )?([a-z_]+) = ((?:"[^"]*"|[^"#])*)(?:#(.*))?""")
_GOES_ON = re.compile(r"(?:#\s{6,}|\s{6,})# ?(.*)")


@dataclass
class Key:
    """The comments of a key: those beside it, and those above."""

    beside: list[str] = field(default_factory=list)
    above: list[str] = field(default_factory=list)

    def meaning(self) -> str:
        said = [" ".join(it) for it in (self.beside, self.above) if it]
        return ". ".join(it.removesuffix(".") for it in said) or "-"


@dataclass
class Told:
    """What the file says of a section, and of each key in it."""

    of_all: list[str] = field(default_factory=list)
    of_key: dict[str, Key] = field(default_factory=dict)


def page() -> str:
    told = told_by(FILE.read_text(encoding="utf-8"))
    parts = [HEAD]
    for path, section, is_list in sections(Settings, ()):
        here = told[written(path)]
        keys = [(key, it) for key, it in keys_of(section).items() if section_in(it.annotation) is None]
        if not keys:
            continue
        parts += [f"## {'[[' if is_list else '['}{'.'.join(path)}{']]' if is_list else ']'}", ""]
        parts += [_cell(" ".join(here.of_all)), ""] if here.of_all else []
        parts += ["| key | takes | default | meaning |", "|---|---|---|---|"]
        schemas = section.model_json_schema()["properties"]
        for key, it in keys:
            meaning = _cell(here.of_key[key].meaning())
            parts.append(f"| `{key}` | {takes(schemas[key])} | {default_of(it)} | {meaning} |")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def sections(section: type[Section], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], type[Section], bool]]:
    """Every section with its path, those within it after it; whether it may be there several times, as a list."""
    for key, it in keys_of(section).items():
        inner = section_in(it.annotation)
        if inner is None:
            continue
        here = (*path, key, "NAME") if get_origin(it.annotation) is dict else (*path, key)
        yield here, inner, get_origin(it.annotation) is tuple
        yield from sections(inner, here)


def keys_of(section: type[Section]) -> Mapping[str, FieldInfo]:
    return {it.alias or name: it for name, it in section.model_fields.items()}


def section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, Section) else None
    return next(filter(None, map(section_in, get_args(annotation))), None)


def written(path: tuple[str, ...]) -> str:
    name = ".".join(path)
    for ours, shown in SHOWN.items():
        name = name.replace(ours, shown)
    return name


def told_by(text: str) -> dict[str, Told]:
    """What proxy.toml says, by section.

    A comment beside a key or above it is the key's, one above a header the section's; one below a header is the first
    key's where that has none beside it, else the section's. "as above" is what was said of the last key of that name.
    """
    found: dict[str, Told] = {}
    here, waiting, last, at_head = Told(), list[str](), Key(), False
    latest: dict[str, Key] = {}
    for line in text.splitlines():
        if goes_on := _GOES_ON.fullmatch(line):
            last.beside.append(goes_on[1].strip())
        elif header := _HEADER.fullmatch(line):
            here = found[header[1]] = Told(of_all=waiting)
            waiting, at_head = [], True
        elif key := _KEY.fullmatch(line):
            beside = (key[3] or "").strip()
            if at_head and beside:
                here.of_all += waiting
                waiting = []
            last = latest[key[1]] if beside == "as above" else Key([beside] if beside else [], waiting)
            here.of_key[key[1]] = latest[key[1]] = last
            waiting, at_head = [], False
        elif line.startswith("#"):
            waiting.append(line.lstrip("# ").strip())
        else:
            waiting = []
    return found


def takes(schema: Mapping[str, Any]) -> str:
    """What a key takes, in words, from its JSON schema."""
    match schema:
        case {"anyOf": several}:
            kinds = [takes(it) for it in several if it != {"type": "null"}]
            return " or ".join(dict.fromkeys(kinds))
        case {"enum": values}:
            return ", ".join(f'`"{it}"`' for it in values)
        case {"const": value}:
            return f'`"{value}"`'
        case {"type": "array", "items": items}:
            return f"list: {takes(items)}"
        case {"type": "object", "additionalProperties": inner}:
            return f"table: {takes(inner)}"
        case {"format": "password"}:
            return "secret"
        case {"format": "path"}:
            return "path"
        case {"format": "ipv4network" | "ipv6network"}:
            return "network"
        case {"type": "boolean"}:
            return "`true`, `false`"
        case {"type": "integer" | "number" as kind}:
            return ("whole number" if kind == "integer" else "number") + bounds(schema)
        case {"type": "string", "maxLength": most}:
            return f"text, at most {most}"
        case _:
            return "text"


def bounds(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minimum", schema.get("ge")), schema.get("maximum", schema.get("le"))
    if most == NO_LIMIT:
        most = None
    if "exclusiveMinimum" in schema:
        return f" above {schema['exclusiveMinimum']}" + (f", to {most:_}" if most is not None else "")
    if least is None:
        return ""
    return f", {least:_} to {most:_}" if most is not None else f" from {least:_}"


def default_of(it: FieldInfo) -> str:
    if it.is_required():
        return "required"
    match it.get_default(call_default_factory=True, validated_data={}):
        case None:
            return "none"
        case SecretStr() as secret:
            return f"`{_toml(secret.get_secret_value())}`"
        case timedelta() as time:
            return f"`{time.total_seconds():_g}`"
        case value:
            return f"`{_toml(value)}`"


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:_}"
        case tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case _:
            return f'"{value}"'


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.stdout.write(page())
