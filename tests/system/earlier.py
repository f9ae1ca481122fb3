"""An earlier commit of this program in a folder of its own, ready to be started beside this one.

    folder = lay_out(named_commit(), ROOT, somewhere)
    with Rig(place) as rig:
        rig.start_worker(program=folder)

It comes out of history with `git archive`, which leaves nothing behind in the repository. The packages are those of
this environment as long as all pins that the earlier program needs are the same; else its own lock is installed.
"""

import fcntl
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREVIOUS = Path(__file__).parent / "previous"
# What the program named there calls the settings and metrics that the tests use.
EARLIER_WORDS = {
    "dedupe_ttl_s": "marks_life_s",
    "silence_min_s": "silence_s",
    "backoff_initial_s": "backoff_first_s",
    "backoff_max_s": "backoff_most_s",
    "app_proxy_jobs_settled_total": "push_jobs_settled_total",
    "app_proxy_leases_taken_over_total": "stream_entries_taken_over_total",
}
_WORDS = re.compile("|".join(EARLIER_WORDS))
_LATER_SETTINGS = re.compile(r"^client_per_\w+ = .*\n", re.MULTILINE)  # of a program that limits every route
_PROJECT = "mimc-app-proxy (pyproject.toml)"
_PIN = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^ ;\\]+)")


class NoHistory(Exception):
    """The earlier commit cannot be had here. Says why, and what helps."""


def named_commit(file: Path = PREVIOUS) -> str:
    """The full name of the commit in that file, whose other lines are comments."""
    (commit,) = (line for line in file.read_text().splitlines() if not line.startswith("#"))
    assert re.fullmatch(r"[0-9a-f]{40}", commit), f"{file}: expected a commit's full name"
    return commit


def lay_out(commit: str, checkout: Path, folder: Path, git: str = "git") -> Path:
    """The program of that commit in `folder`, with an environment in `.venv` where it needs one of its own.

    Raises NoHistory.
    """
    must_be_there(commit, checkout, git)
    packed = _run(git, checkout, "archive", "--format=tar", commit)
    if packed.returncode:
        raise NoHistory(f"git archive {commit}: {_said(packed)}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files:
        unpack(files, folder)
    theirs, ours = ((place / "requirements.lock").read_text() for place in (folder, checkout))
    if needed_pins(theirs) - all_pins(ours):
        _install(folder)
    return folder


def unpack(files: tarfile.TarFile, folder: Path) -> None:
    """Of an archive that was made here."""
    if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
        files.extractall(folder, filter="data")
    else:
        files.extractall(folder)  # noqa: S202


def in_words_of(program: Path, text: str) -> str:
    """Settings or a metric's name as that program calls them."""
    if not (program / "proxy/web/shares.py").exists():
        text = _LATER_SETTINGS.sub("", text)
    has_spool_package = (program / "proxy/spool").is_dir()  # since the same commit as today's words
    return text if has_spool_package else _WORDS.sub(lambda word: EARLIER_WORDS[word[0]], text)


def all_pins(lock: str) -> set[str]:
    """`name==version` of every package in a lock file."""
    return {pin for pin, _ in _entries(lock)}


def needed_pins(lock: str) -> set[str]:
    """Those that the program's own dependencies lead to; what only developers use is left out.

    uv notes below each package who asked for it: `# via flask`, or the project itself.
    """
    entries = list(_entries(lock))
    needed = {_PROJECT}
    while more := {_name(pin) for pin, askers in entries if askers & needed} - needed:
        needed |= more
    return {pin for pin, _ in entries if _name(pin) in needed}


def must_be_there(commit: str, checkout: Path, git: str = "git") -> None:
    """Raises NoHistory."""
    try:
        top = _run(git, checkout, "rev-parse", "--show-toplevel")
    except FileNotFoundError:
        raise NoHistory(
            f"git is not installed. The test of an upgrade needs it, and commit {commit} of main."
        ) from None
    if top.returncode and b"not a git repository" not in top.stderr:
        raise NoHistory(f"git cannot read the history of {checkout}: {_said(top)}")
    if top.returncode or Path(os.fsdecode(top.stdout.rstrip(b"\n"))).resolve() != checkout.resolve():
        raise NoHistory(
            f"{checkout} has no history of its own (no .git). The test of an upgrade runs commit {commit} beside this "
            "program: use a clone of the repository instead of an unpacked archive."
        )
    if _run(git, checkout, "cat-file", "-e", f"{commit}^{{commit}}").returncode:
        shallow = _run(git, checkout, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true"
        command = "git fetch --unshallow" if shallow else f"git fetch origin {commit}"
        raise NoHistory(
            f"Commit {commit}, which runs beside this program, is not in this clone. Fetch it:\n    {command}"
        )


def _install(folder: Path) -> None:
    """Once for all runs, inside today's environment. Needs the network. Raises NoHistory."""
    lock = folder / "requirements.lock"
    environment = Path(sys.prefix) / f"earlier-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    with _alone(environment.with_suffix(".lock")):
        if not (environment / "installed").exists():
            shutil.rmtree(environment, ignore_errors=True)
            pip = [str(environment / "bin/python"), "-I", "-m", "pip", "install", "--quiet", "--no-input"]
            for command in (
                [sys.executable, "-I", "-m", "venv", str(environment)],
                [*pip, "--disable-pip-version-check", "--require-hashes", "-r", str(lock)],
            ):
                done = subprocess.run(command, capture_output=True, check=False)
                if done.returncode:
                    raise NoHistory(f"the packages of the earlier program could not be installed: {_said(done)}")
            (environment / "installed").touch()
    (folder / ".venv").symlink_to(environment)


@contextmanager
def _alone(lock_file: Path) -> Iterator[None]:
    """One process at a time."""
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _entries(lock: str) -> Iterator[tuple[str, set[str]]]:
    """For each package its pin and who asked for it."""
    for entry in re.split(r"^(?=[\w.-]+==)", lock, flags=re.MULTILINE)[1:]:
        pin = _PIN.match(entry)
        assert pin
        notes = (line.strip().removeprefix("#").strip() for line in entry.splitlines() if line.lstrip().startswith("#"))
        yield pin[0], {note.removeprefix("via").strip() for note in notes} - {""}


def _name(pin: str) -> str:
    return pin.partition("==")[0]


def _run(git: str, checkout: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """A hook's GIT_DIR would lead elsewhere."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {"LC_ALL": "C"}
    command = [git, "-C", str(checkout), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, check=False)


def _said(done: "subprocess.CompletedProcess[bytes]") -> str:
    return done.stderr.decode(errors="replace").strip()
