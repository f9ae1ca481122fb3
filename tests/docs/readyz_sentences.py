"""Every entry of /readyz and every sentence in it, read from the code that says them."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GAP = "..."  # in the place of what is filled in
# the functions that make entries; a new one has to be named here
SPEAKERS = {
    "proxy/store/server/health.py": {"check", "_look", "_paused", "_full", "_sentence"},
    "proxy/store/server/policy.py": {"eviction_fault", "persistence_risk", "replicas_fault"},
    "proxy/store/server/identity.py": {"loss_details", "_behind"},
    "proxy/store/server/clocks.py": {"clock_details"},
    "proxy/store/server/token_facts.py": {"token_details", "_failing"},
    "proxy/store/server/worker_states.py": {"worker_details", "_sentence"},
    "proxy/store/devices/removed.py": {"guard_details"},
    "proxy/spool/health.py": {"check", "_sentence"},
    "proxy/metrics.py": {"lost_details"},
    "proxy/worker/readiness.py": {"details"},
    "proxy/usecases/changed_files.py": {"details"},
    "proxy/settings/__init__.py": {"risks"},
    "proxy/wiring/common.py": {"risks_of"},
}
# sentences that stand beside a function, as a constant of its module
CONSTANTS = {"proxy/store/server/identity.py": "WHAT_WAS_LOST", "proxy/spool/health.py": "_OFF"}
SHORTEST = 20  # what is shorter is a name or a part of a sentence


def entries() -> set[str]:
    """The names of entries: `lane .../...`."""
    found = set[str]()
    for function in _functions():
        for node in ast.walk(function):
            match node:
                case ast.Subscript(value=ast.Name("details" | "sentences"), slice=key, ctx=ast.Store()):
                    found.add(text_of(key) or "")
                case ast.Dict(keys=names):
                    found |= {text_of(it) or "" for it in names if it is not None}
                case ast.DictComp(key=key):
                    found.add(text_of(key) or "")
    return found - {""}


def sentences() -> set[str]:
    found = {_constant(name, variable) for name, variable in CONSTANTS.items()}
    for function in _functions():
        inner = {id(part) for node in ast.walk(function) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
        for node in ast.walk(ast.Module(function.body[_has_docstring(function) :], [])):
            if isinstance(node, ast.JoinedStr) or id(node) not in inner:
                text = text_of(node)
                if text and len(text) >= SHORTEST and " " in text:
                    found.add(text)
    return found


def text_of(node: ast.AST) -> str | None:
    """What a text or an f-string says, with a gap for each value; None for anything else."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(str(it.value) if isinstance(it, ast.Constant) else GAP for it in values)
        case _:
            return None


def _functions() -> Iterator[ast.FunctionDef]:
    for name, wanted in SPEAKERS.items():
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        found = [it for it in ast.walk(tree) if isinstance(it, ast.FunctionDef) and it.name in wanted]
        assert {it.name for it in found} == wanted, f"{name}: {wanted} are not all there"
        yield from found


def _constant(name: str, variable: str) -> str:
    for node in ast.parse((ROOT / name).read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=ast.Constant(value=str(text))) if found == variable:
                return text
    raise AssertionError(f"{name} has no text {variable}")


def _has_docstring(function: ast.FunctionDef) -> bool:
    return ast.get_docstring(function) is not None
