"""Is this Python environment ours alone, as far as it matters?"""

from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, distributions, version

from proxy.check_config.finding import Finding

_OURS = "mimc-app-proxy"


def inspect_environment(path: Sequence[str] | None = None) -> Iterator[Finding]:
    """Does another distribution have a package `proxy` too? PyPI's proxy.py has; one replaces files of the other.

    `path`: where to look, instead of sys.path.
    """
    found = distributions() if path is None else distributions(path=list(path))
    others = sorted({it.name for it in found if it.name != _OURS and _has_proxy(it)})
    if not others:
        yield Finding("ok", "environment", f"{_OURS} {version(_OURS)}; no other distribution has a package `proxy`")
    for name in others:
        text = (
            f"{name} has a package `proxy` too: one replaced files of the other. Install ours by pipx, or in a new venv"
        )
        yield Finding("fault", "environment", text)


def _has_proxy(other: Distribution) -> bool:
    return any(file.parts[0] in {"proxy", "proxy.py"} for file in other.files or ())
