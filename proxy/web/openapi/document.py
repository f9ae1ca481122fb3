"""The whole document, or the part of it that describes the routes which are there."""

from collections.abc import Collection

from proxy import __version__
from proxy.web.openapi.own import OPERATIONS, TAGS
from proxy.web.openapi.parts import Json, components

_ABOUT = """\
A token broker and an offline-push relay for chat apps on Xiaomi MIMC; optionally MIMC's own API, for users and for the
developer's servers.

Every answer of this service's own is MIMC's envelope, with the HTTP status as `code`. Any call may also be answered
400, 408, 413, 414 or 431, before a route sees it: the request is broken, too slow or too long. A page of another
origin may call what lies under /api/ and /auth/ where `allowed_origins` names it; preflights need no proof. At the end
of a path of MIMC's own a slash may be there or not.
"""


def document(routes: Collection[tuple[str, str]] | None = None, *, opens_mimc: bool = True) -> Json:
    """`routes`: method and path of each one that is there, None: whatever this program can open. `opens_mimc`: calls of
    MIMC's API are among them.
    """
    paths, shared = dict[str, Json](), components()
    for route, operation in OPERATIONS.items():
        if routes is None or route in routes:
            paths.setdefault(route[1], {})[route[0].lower()] = operation
    if opens_mimc:
        from proxy.web.openapi.mimc import COMPONENTS, operations  # noqa: PLC0415  not loaded where none is open

        for kind, parts in COMPONENTS.items():
            shared[kind] = {**shared.get(kind, {}), **parts}
        for route, path, operation in operations():
            if routes is None or route in routes:
                paths.setdefault(path, {})[route[0].lower()] = operation
    used = {tag for path in paths.values() for operation in path.values() for tag in operation["tags"]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mimc-app-proxy",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": says} for name, says in TAGS.items() if name in used],
        "paths": paths,
        "components": shared,
    }
