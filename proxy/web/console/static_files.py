"""Style and scripts: read once, and cached by browsers for good, for their address holds their hash."""

import hashlib
from functools import cache
from pathlib import Path

from flask import Response, url_for

from proxy.errors import NotFound
from proxy.web.console.blueprint import bp
from proxy.web.console.rules import open_to_look

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@bp.get("/static/<tag>/<name>")
@open_to_look
def static_file(tag: str, name: str) -> Response:
    found = _files().get(name)
    if found is None or tag != found[0]:
        raise NotFound("not found")
    response = Response(found[1], content_type=_TYPES[Path(name).suffix])
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response


@bp.app_template_global()
def static_url(name: str) -> str:
    """Raises KeyError."""
    return url_for("console.static_file", tag=_files()[name][0], name=name)


@cache
def _files() -> dict[str, tuple[str, bytes]]:
    found = {path.name: path.read_bytes() for path in _FOLDER.iterdir() if path.suffix in _TYPES}
    return {name: (hashlib.sha256(content).hexdigest()[:16], content) for name, content in found.items()}
