"""Which local TCP ports a process uses: so a provider's journal can be laid beside what was done to the process."""

import re
import subprocess
from pathlib import Path

_SOCKET = re.compile(r"socket:\[(\d+)\]")


def ports_of(pid: int) -> list[int] | None:
    """The local ports of its TCP connections; None where the system does not say."""
    if Path("/proc/self/net/tcp").exists():
        return _from_proc(pid)
    return _from_lsof(pid)


def _from_proc(pid: int) -> list[int] | None:
    """Linux: the process's descriptors name inodes, the table of sockets names their ports."""
    try:
        inodes = {found[1] for path in Path(f"/proc/{pid}/fd").iterdir() if (found := _inode(path))}
        rows = [
            line.split() for name in ("tcp", "tcp6") for line in _lines(Path(f"/proc/{pid}/net/{name}"))
        ]  # fmt: skip
    except OSError:
        return None
    return sorted({int(row[1].rpartition(":")[2], 16) for row in rows if row[9] in inodes})


def _inode(descriptor: Path) -> re.Match[str] | None:
    try:
        return _SOCKET.fullmatch(str(descriptor.readlink()))
    except OSError:  # closed meanwhile
        return None


def _lines(table: Path) -> list[str]:
    return table.read_text().splitlines()[1:] if table.exists() else []


def _from_lsof(pid: int) -> list[int] | None:
    """macOS has no /proc."""
    try:
        argv = ["lsof", "-nP", "-a", "-p", str(pid), "-iTCP", "-Fn"]
        listing = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    return sorted({int(port) for port in re.findall(r"^n[^>\n]*:(\d+)", listing, re.MULTILINE)})
