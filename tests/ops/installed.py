"""Tools that are not Python packages of ours: on the PATH, or in .tools, where `make tools` puts them."""

import os
import shutil

import pytest

from tests.docs.test_pages import ROOT


def tool(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([str(ROOT / ".tools/bin"), os.environ.get("PATH", "")]))


def needs(*names: str) -> pytest.MarkDecorator:
    """Skips, with a word, where one of them is not here."""
    missing = [name for name in names if tool(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"no {' and no '.join(missing)} here: see `make tools`")
