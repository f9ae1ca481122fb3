"""Makes .venv what requirements.lock says: `python tools/environment.py [--check]`.

`--check` only tells, by its exit code, whether the .venv that runs it is complete and up to date. The marker
.venv/.complete is written last and removed first, so an interrupted install never has one and is made anew. Needs
nothing but the standard library of a Python that can make virtual environments.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
MARKER = VENV / ".complete"

# A user's own pip and Python settings can send the packages elsewhere or refuse the install. Mirrors and proxies stay.
STRAY = (
    *("PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE", "PIP_CONSTRAINT", "PIP_NO_BINARY", "PIP_ONLY_BINARY"),
    *("PIP_PREFIX", "PIP_PYTHON", "PIP_REQUIREMENT", "PIP_ROOT", "PIP_TARGET"),
)
# Not only taken away: pip's configuration file may say the same, and the environment wins over it.
DENIED = ("PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_REQUIRE_HASHES", "PIP_NO_DEPS", "PIP_DRY_RUN")

# What sends pip another way to the packages. Right for many, and where it is wrong pip does not name it.
DETOURS = (
    *("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "PIP_PROXY"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
)


def main() -> int:
    """0 when .venv is complete, 1 when an install failed, 2 when this Python cannot make one, or may not."""
    wanted = [str(VENV), "{}.{}".format(*sys.version_info), *map(digest, (LOCK, ROOT / "pyproject.toml"))]
    if found() == wanted:
        return 0
    if "--check" in sys.argv:
        return 1
    with LOCK.open("rb") as lock:  # two starts at once: the second waits, then finds it done
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another install in this folder")
            fcntl.flock(lock, fcntl.LOCK_EX)
        return 0 if found() == wanted else build(wanted, lock.fileno())


def build(wanted: list[str], lock: int) -> int:
    """Make or update .venv, then its marker."""
    if VENV.is_symlink():  # made anew, it would empty a folder that others may use, and then fail
        say(f".venv is a link to {VENV.resolve()}, made for another folder or another lock. Nothing was changed:")
        say("take the link away, and run make again for an environment of this folder's own.")
        return 2
    same_base = found()[:2] == wanted[:2]
    MARKER.unlink(missing_ok=True)
    if not same_base:
        say(f"making .venv with Python {sys.version.split()[0]}")
        made = run([sys.executable, "-I", "-m", "venv", "--clear", str(VENV)], lock)
        if made:
            say(f"{sys.executable} cannot make a virtual environment. On Debian and Ubuntu this helps:")
            say("    sudo apt install python{}.{}-venv".format(*sys.version_info))
            return 2
    say("installing what requirements.lock names (the first time this downloads some 50 MB)")
    pip = [str(VENV / "bin" / "python"), "-I", "-m", "pip", "install", "--no-input"]
    failed = install([*pip, "--require-hashes", "-r", str(LOCK)], lock)
    failed = failed or run([*pip, "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], lock)
    if failed:
        say("the install failed; the reason is above. Run make again to go on.")
        if given := [name for name in DETOURS if os.environ.get(name)]:
            say(f"pip was sent elsewhere by {', '.join(given)}: is that right?")
        return 1
    new = MARKER.with_suffix(".new")
    new.write_text("\n".join(wanted))
    new.replace(MARKER)
    return 0


def found() -> list[str]:
    """The marker's lines, [] without a marker."""
    try:
        return MARKER.read_text().split("\n")
    except OSError:
        return []


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(command: list[str], lock: int) -> int:
    return subprocess.run(command, check=False, **surroundings(lock)).returncode


def surroundings(lock: int) -> dict[str, Any]:
    # The child inherits the lock: should we be killed, the next start waits until pip has stopped writing, too.
    environment = {name: value for name, value in os.environ.items() if name not in STRAY}
    environment.update(dict.fromkeys(DENIED, "0"), PIP_DISABLE_PIP_VERSION_CHECK="1")
    return {"env": environment, "cwd": ROOT, "pass_fds": [lock]}


def install(command: list[str], lock: int) -> int:
    """The same as `run`, with a line for each package that pip comes to: a slow line should not look like a halt."""
    total = sum("==" in line for line in LOCK.read_text().splitlines())
    number = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **surroundings(lock)) as pip:
        for line in pip.stdout or ():
            what, _, package = line.partition(" ")
            if what == "Collecting":
                number += 1
                say(f"  {number} of at most {total}: {package.split()[0]}")
            elif what == "Installing":
                say("  all are here; unpacking them, which takes half a minute or less")
    return pip.returncode


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
