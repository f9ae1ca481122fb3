"""How long `app-proxy devices import` takes for a whole relay's phones, and how much memory.

    python -m tests.bench.devices --lines 1000000

The store is an embedded one of its own. Says wall time, lines a second and the command's most memory; exit code 1 where
a million lines would take over 5 minutes, or 200 MB.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from proxy.store.server.embedded import ensure_store, stop_store

_MOST_S_OF_A_MILLION, _MOST_MB = 300, 200
_SETTINGS = """
[store]
url = "{url}"
[auth.jwt.own]
secret = "{secret}"
[apps.main]
app_id = "1"
app_key = "k"
app_secret = "s"
url_secret = "a-secret-of-an-address"
[apps.main.mipush]
app_secret = "s"
package = "com.example.chat"
address = "regid"
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--lines", type=int, default=1_000_000)
    lines = arguments.parse_args().lines
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = ensure_store(folder / "store")
        try:
            seconds, megabytes = _imported(folder, url, lines)
        finally:
            stop_store(folder / "store")
    sys.stdout.write(f"{lines} lines in {seconds:.1f} s: {lines / seconds:.0f} a second, {megabytes:.0f} MB at most\n")
    is_over = seconds / lines * 1_000_000 > _MOST_S_OF_A_MILLION or megabytes > _MOST_MB
    sys.exit(f"over {_MOST_S_OF_A_MILLION} s for a million, or {_MOST_MB} MB" if is_over else 0)


def _imported(folder: Path, url: str, lines: int) -> tuple[float, float]:
    config, file = folder / "proxy.toml", folder / "devices.jsonl"
    config.write_text(_SETTINGS.format(url=url, secret="k" * 40))
    with file.open("w") as out:
        out.writelines(_line(number) for number in range(lines))
    words = ["-m", "proxy", "devices", "import", str(file), "--config", str(config)]
    began = time.monotonic()
    child = subprocess.Popen([sys.executable, *words], stdout=sys.stderr)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit("the import failed")
    return time.monotonic() - began, used.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def _line(number: int) -> str:
    return (
        json.dumps(
            {
                "account": f"user-{number}",
                "device_id": "phone",
                "platform": "mipush",
                "push_token": f"{number:044d}",
                "registered_at": "2026-11-01T12:00:00Z",
            }
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
