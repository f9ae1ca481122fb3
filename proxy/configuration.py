"""From the configuration file and the environment to Settings, or to every fault at once.

A variable overrides the key of its name: APP_PROXY_ and the path, two underscores between the levels, all in upper
case, a name's `-` as `_`: APP_PROXY_STORE__URL, APP_PROXY_APPS__MAIN__APP_SECRET. A secret may also lie in a file:
APP_PROXY_APPS__MAIN__APP_SECRET__FILE=/run/secrets/app. A list is written with commas, a table as JSON. Relative paths,
in the file or in a variable, start at the file's folder.

Three variables that platforms set fill a key which nothing else sets: PORT, REDIS_URL, WEB_CONCURRENCY.
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from proxy.errors import BadSettings
from proxy.settings import Faults, Section, Settings

# what version 0.1 called them: its users get the new name
_FORMER_NAMES = {
    "marks_life_s": "dedupe_ttl_s",
    "alert_life_s": "alert_ttl_s",
    "unknown_account_life_s": "unknown_account_ttl_s",
    "access_life_s": "access_ttl_s",
    "refresh_life_s": "refresh_ttl_s",
    "forget_share": "removal_guard_share",
    "forget_at_least": "removal_guard_min",
    "backoff_first_s": "backoff_initial_s",
    "backoff_most_s": "backoff_max_s",
    "silence_s": "silence_min_s",
}
# Heroku's and its likes': which key each fills, and how its text is written there
_PLATFORM: dict[str, tuple[tuple[str, str], str]] = {
    "PORT": (("server", "bind"), "0.0.0.0:{}"),
    "REDIS_URL": (("store", "url"), "{}"),
    "WEB_CONCURRENCY": (("server", "workers"), "{}"),
}
PREFIX = "APP_PROXY_"
# Source: Kubernetes, "Service", environment variables
_SERVICE = re.compile(
    r"[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_PROTOCOLS = ("tcp://", "udp://", "sctp://")
PATH_VARIABLE = "APP_PROXY_CONFIG"
DEFAULT_PATH = Path("config/proxy.toml")

Place = tuple[str | int, ...]


def load_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of the file at `path` (else APP_PROXY_CONFIG, else config/proxy.toml), overridden by `environ`.

    `environ` is the process's environment unless given. Raises BadSettings with one line per fault; none of them
    repeats a value.
    """
    environ = os.environ if environ is None else environ
    path = path or Path(environ.get(PATH_VARIABLE) or DEFAULT_PATH)
    document = _read_document(path)
    origins, faults = _override(document, environ)
    origins |= _fill_from_platform(document, environ)

    def read() -> Settings:
        files = set[Path]()
        try:
            context = {"folder": path.parent, "environ": environ, "files": files}
            settings = Settings.model_validate(document, context=context)
        except ValidationError as error:
            raise BadSettings(faults + fault_lines(error, Settings, origins)) from None
        if faults:
            raise BadSettings(faults)
        return settings.came_from(files, read)

    return read()


def taken_from_platform(path: Path | None = None, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Which of the platform's variables `load_settings` uses, and for which key: {"PORT": "server.bind"}."""
    environ = os.environ if environ is None else environ
    document = _read_document(path or Path(environ.get(PATH_VARIABLE) or DEFAULT_PATH))
    _override(document, environ)
    return {name: _dotted(place) for place, name in _fill_from_platform(document, environ).items()}


def _fill_from_platform(document: dict[str, Any], environ: Mapping[str, str]) -> dict[Place, str]:
    """Put the platform's variables where the document has nothing. Returns which place came from which."""
    taken: dict[Place, str] = {}
    for name, (place, form) in _PLATFORM.items():
        section, key = place
        own = document.get(section, {})
        if (text := environ.get(name, "").strip()) and isinstance(own, dict) and key not in own:
            _put(document, place, form.format(text))
            taken[place] = name
    return taken


def _read_document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        hint = f"`app-proxy init` writes one that explains every key; or set {PATH_VARIABLE}"
        raise BadSettings([f"no configuration file at {path}; {hint}"]) from None
    except OSError as error:
        raise BadSettings([f"cannot read {path}: {type(error).__name__}"]) from None
    except UnicodeDecodeError:
        raise BadSettings([f"{path} is not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise BadSettings([f"{path} is not TOML: {error}"]) from None


@dataclass(frozen=True)
class _Variable:
    """Where a variable's text belongs; `annotation` is the field's type, `as_file` says the text is a path."""

    place: tuple[str, ...]
    annotation: Any
    as_file: bool = False


def _override(document: dict[str, Any], environ: Mapping[str, str]) -> tuple[dict[Place, str], list[str]]:
    """Put the variables into the document. Returns which place came from which variable, and the faults."""
    given = {name: text for name, text in environ.items() if name.startswith(PREFIX) and name != PATH_VARIABLE}
    known = dict(_variables(Settings, PREFIX, (), document, given))
    given = {name: text for name, text in given.items() if name in known or not _is_of_kubernetes(name, text)}
    origins: dict[Place, str] = {}
    faults: list[str] = []
    for name, text in sorted(given.items()):
        variable = known.get(name)
        if variable is None:
            faults.append(f"{name}: {_renamed(name, known) or f'unknown variable{_nearest(name, known)}'}")
        elif variable.place in origins:
            faults.append(f"{name}: sets the same key as {origins[variable.place]}")
        else:
            origins[variable.place] = name
            try:
                _put(document, variable.place, _value(variable, text))
            except ValueError:
                faults.append(f"{name}: expected a JSON object or, for a list, texts with commas between them")
    return origins, faults


def _is_of_kubernetes(name: str, text: str) -> bool:
    """Kubernetes tells every container of a service named app-proxy (or app-proxy-web) where it is."""
    return bool(_SERVICE.fullmatch(name)) or (name.endswith("_PORT") and text.startswith(_PROTOCOLS))


def _names(start: str, table: object, given: Iterable[str]) -> dict[str, str]:
    """How apps or issuers are called in variables -> in the file. Those that only variables speak of are there too."""
    parts = (name.removeprefix(start).partition("__") for name in given if name.startswith(start))
    names = {word: word.lower() for word, more, _ in parts if more}
    return names | {name.upper().replace("-", "_"): name for name in (table if isinstance(table, dict) else ())}


def _variables(
    section: type[Section], prefix: str, place: tuple[str, ...], document: object, given: Iterable[str]
) -> Iterator[tuple[str, _Variable]]:
    """Every variable that sets a key of this section, `document` being what the file has for it."""
    for key, field in _keys(section).items():
        name, here = prefix + key.upper(), (*place, key)
        inner = _section_within(field.annotation)
        own = document.get(key) if isinstance(document, dict) else None
        if inner is None:
            yield name, _Variable(here, field.annotation)
            if _is_secret(field.annotation):
                yield f"{name}__FILE", _Variable(here, field.annotation, as_file=True)
        elif get_origin(field.annotation) is tuple:  # of the file alone, where each may say { env = "NAME" }
            continue
        elif get_origin(field.annotation) is dict:
            for word, called in _names(f"{name}__", own, given).items():
                its_own = own.get(called) if isinstance(own, dict) else None
                yield from _variables(inner, f"{name}__{word}__", (*here, called), its_own, given)
        else:
            yield from _variables(inner, f"{name}__", here, own, given)


def _is_secret(annotation: Any) -> bool:
    """A secret, or one that may be absent; several have no variable of their own for files."""
    kind = get_origin(annotation)
    if kind in {Annotated, Union, UnionType}:
        return any(map(_is_secret, get_args(annotation)))
    return annotation is SecretStr


def _section_within(annotation: Any) -> type[Section] | None:
    """The section that a field holds: itself, or None, or a table of such sections."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, Section) else None
    return next(filter(None, map(_section_within, get_args(annotation))), None)


def _value(variable: _Variable, text: str) -> object:
    if variable.as_file:
        return {"file": text}
    match get_origin(variable.annotation):
        case kind if kind is dict:
            return json.loads(text)
        case kind if kind is tuple:
            return [item.strip() for item in text.split(",") if item.strip()]
        case _:
            return text


def _put(document: dict[str, Any], place: tuple[str, ...], value: object) -> None:
    *sections, key = place
    for section in sections:
        document = document.setdefault(section, {})
        if not isinstance(document, dict):
            return  # the file has something else there, which validation will name
    document[key] = value


def fault_lines(error: ValidationError, section: type[Section], origins: Mapping[Place, str]) -> list[str]:
    """The faults that validating a `section` found, one line or more for each; none repeats a value.

    `origins` says which places were set by a variable, and by which.
    """
    return [
        line for one in error.errors(include_url=False, include_input=False) for line in _lines(one, section, origins)
    ]


def _lines(error: Any, section: type[Section], origins: Mapping[Place, str]) -> Iterator[str]:
    """One of pydantic's errors in our words."""
    place: Place = error["loc"]
    cause = error.get("ctx", {}).get("error")
    origin = f" (from {origins[place]})" if place in origins else ""
    match error["type"], cause:
        case "extra_forbidden", _:
            key, keys = str(place[-1]), _keys_at(section, place[:-1])
            yield f"{_dotted(place)}: {_renamed(key, keys) or f'unknown key{_nearest(key, keys)}'}"
        case "missing", _:
            yield f"{_dotted(place)}: missing, and it has no default"
        case _, Faults(faults=faults):
            yield from (f"{_dotted((*place, key))}: {text}" for key, text in faults)
        case _, ValueError():
            yield f"{_dotted(place)}{origin}: {cause}"
        case _:
            yield f"{_dotted(place)}{origin}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def _dotted(place: Place) -> str:
    return ".".join(map(str, place))


def _keys_at(section: type[Section], place: Place) -> list[str]:
    """The keys that a section may have at this place within it."""
    names = iter(place)
    for name in names:
        annotation = _keys(section)[str(name)].annotation
        inner = _section_within(annotation)
        if inner is None:
            return []
        section = inner
        if get_origin(annotation) in {dict, tuple}:
            next(names, None)  # the app's or issuer's own name, or its number in a list
    return list(_keys(section))


def _keys(section: type[Section]) -> dict[str, FieldInfo]:
    """The keys of a section as the file writes them: a duration's ends in `_s`."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _renamed(name: str, names: Iterable[str]) -> str:
    """What a key or variable of an earlier version is called now; "" where it is none."""
    for former, now in _FORMER_NAMES.items():
        for before, after in ((former, now), (former.upper(), now.upper())):
            new = name.removesuffix(before) + after
            if name.endswith(before) and new in names:
                return f"is called {new} now"
    return ""


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f'; did you mean "{near[0]}"?' if near else ""
