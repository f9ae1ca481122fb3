"""docs/openapi.yaml, made from the program itself: whatever it can answer.

make openapi
"""

import sys
from typing import Any

import yaml  # type: ignore[import-untyped]  # PyYAML has no types

from proxy.web.openapi.document import document

HEAD = "# Made by `make openapi`; a test compares the two. A service has the part that it opens at /openapi.json.\n"


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  the signature is PyYAML's
        return True


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def page() -> str:
    text: str = yaml.dump(
        document(), Dumper=_Dumper, default_flow_style=None, sort_keys=False, allow_unicode=True, width=118
    )
    return HEAD + text


if __name__ == "__main__":
    sys.stdout.write(page())
