"""Known faults in the packages of requirements.lock, and risky calls in our own code: `python tools/audit.py`.

pip-audit asks PyPI's advisories about each package, so it needs the network, and bandit reads the code; ruff's S rules,
part of `make lint`, cover what bandit calls of low severity. Both tools live in .audit, an environment of their own:
the service does not need them. Exit code 1 where something was found or nothing could be asked.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".audit"
TOOLS = ("bandit==1.9.4", "pip-audit==2.10.1")
CODE = ("proxy", "config", "tools", "wsgi.py")


def main() -> int:
    if not install():
        say(f"{' and '.join(TOOLS)} could not be installed into {VENV.name}: nothing was audited")
        return 1
    packages = tool("pip-audit", "-r", "requirements.lock", "--require-hashes", "--disable-pip", "-f", "json",
                    "--progress-spinner", "off", *sys.argv[1:])  # fmt: skip
    known = advisories(packages.stdout)
    if known is None:
        reason = (packages.stderr.strip().splitlines() or ["no reason given"])[-1]
        say(f"pip-audit could not reach its source, so the packages were NOT audited: {reason[:300]}")
    else:
        say(*known or ["pip-audit knows no fault in the packages of requirements.lock"])
    code = tool("bandit", "-q", "-r", "-ll", *CODE)
    say(code.stdout.strip() or "bandit finds nothing of medium or high severity")
    return 1 if known or code.returncode else 0


def install() -> bool:
    """The tools are in VENV, of these versions."""
    marker = VENV / ".complete"
    wanted = "\n".join((sys.version, *TOOLS))
    if marker.exists() and marker.read_text(encoding="utf-8") == wanted:
        return True
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=False)
    if (
        made.returncode
        or tool("python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *TOOLS).returncode
    ):
        return False
    marker.write_text(wanted, encoding="utf-8")
    return True


def tool(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(VENV / "bin" / name), *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def advisories(report: str) -> "list[str] | None":
    """A line for each fault that pip-audit's JSON report names; None where it is no report."""
    try:
        packages = json.loads(report)["dependencies"]
        return [
            f"{package['name']} {package['version']}: {fault['id']}, mended in {' or '.join(fault['fix_versions'])}"
            for package in packages
            for fault in package.get("vulns", ())
        ]
    except (ValueError, KeyError, TypeError):
        return None


def say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    raise SystemExit(main())
