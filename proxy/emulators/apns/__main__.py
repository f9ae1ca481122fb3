"""`python -m proxy.emulators.apns CONFIG.toml`: run the emulator, print one JSON line once it listens."""

import json
import sys
import tomllib
from pathlib import Path

from proxy.emulators.apns import ApnsConfig, serve_apns


def main() -> None:
    path = Path(sys.argv[1])
    config = ApnsConfig.from_mapping(tomllib.loads(path.read_text()), path.parent)
    serve_apns(config, _print_line)


def _print_line(announced: dict[str, int | str]) -> None:
    sys.stdout.write(json.dumps(announced) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
