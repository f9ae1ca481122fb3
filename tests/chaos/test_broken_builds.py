"""The mistakes still apply to the program as it is. Whether the auditor notices them, system tests show."""

from pathlib import Path

import pytest

from tests.chaos.broken_builds import MISTAKES, ROOT, Mistake, build_broken


@pytest.mark.parametrize("name", MISTAKES)
def test_a_broken_build_differs_from_the_program_in_its_mistake_alone(name: str, tmp_path: Path) -> None:
    build = build_broken(name, tmp_path / "build")
    sources = [path.relative_to(ROOT) for part in ("proxy", "config") for path in (ROOT / part).rglob("*.*")]
    texts = [path for path in sources if path.suffix in (".py", ".lua", ".toml")]
    assert [str(path) for path in texts if (ROOT / path).read_text() != (build / path).read_text()] == [
        MISTAKES[name].path
    ]


def test_a_change_that_does_not_apply_exactly_once_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MISTAKES, "rotten", Mistake("proxy/store/scripts/settle.lua", "redis.call", ""))
    with pytest.raises(LookupError, match="times, expected once"):
        build_broken("rotten", tmp_path / "build")
