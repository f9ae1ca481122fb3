"""What the console says, in each language.

words/LANGUAGE/FILE.toml has the texts; `say("lanes.title")` is `title` of lanes.toml. A browser chooses by its
Accept-Language, a person by the switch, which a cookie remembers.
"""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from flask import Response

from proxy.web import current_notes, current_request

LANGUAGES = {"en": "English", "zh-Hans": "简体中文"}
_BY_TAG = {"en": "en", "zh": "zh-Hans"}
_FOLDER = Path(__file__).parent / "words"
_COOKIE, _YEAR_S = "app-proxy-language", 365 * 86_400


def say(key: str, /, **values: object) -> str:
    """In the language of the current request. Raises KeyError."""
    return catalogue(language())[key].format_map(values)


def has(key: str) -> bool:
    return key in catalogue(language())


def language() -> str:
    """Of the current request."""
    notes = current_notes()
    if "language" not in notes:
        asked = current_request()
        wanted = (asked.args.get("language"), asked.cookies.get(_COOKIE))
        notes.language = next((it for it in wanted if it in LANGUAGES), None) or _of_browser()
    chosen: str = notes.language
    return chosen


def remember_language(response: Response) -> None:
    asked = current_request()
    if asked.args.get("language") in LANGUAGES:
        response.set_cookie(_COOKIE, language(), max_age=_YEAR_S, path="/console", httponly=True, samesite="Strict")
    response.vary.update(("Accept-Language", "Cookie"))


@cache
def catalogue(of: str) -> Mapping[str, str]:
    """All texts of a language, by their keys."""
    found: dict[str, str] = {}
    for path in sorted((_FOLDER / of).glob("*.toml")):
        found.update(_flat(path.stem, tomllib.loads(path.read_text("utf-8"))))
    return found


def _of_browser() -> str:
    """People who read one Chinese script read the other better than English."""
    for tag in current_request().accept_languages.values():
        if tag.partition("-")[0].lower() in _BY_TAG:
            return _BY_TAG[tag.partition("-")[0].lower()]
    return "en"


def _flat(prefix: str, table: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        name = f"{prefix}.{key}"
        if isinstance(value, Mapping):
            yield from _flat(name, value)
        else:
            yield name, str(value)
