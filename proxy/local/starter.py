"""The files that an installation begins with, all made from those beside the code: settings, an example of the
environment that they read, and units for systemd.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from proxy.package_data import SETTINGS, UNITS

_TAKEN = re.compile(r'(\w+) = \{ env = "(\w+)" \}\s*(?:# (.*))?')
_SECTION = re.compile(r"\[([\w.]+)\]")
# what ops/systemd says for an installation in /opt/app-proxy
_COMMAND, _CONFIG, _ENVIRONMENT = (
    "/opt/app-proxy/.venv/bin/app-proxy",
    "/etc/app-proxy/proxy.toml",
    "/etc/app-proxy/environment",
)
_HIDDEN = ("/home", "/root", "/run/user")  # by ProtectHome=yes; source: systemd.exec(5)


def starter_files(folder: Path, command: Path) -> Mapping[str, str]:
    """Path in the folder -> text. `command`: where `app-proxy` lies; both are absolute."""
    settings = SETTINGS.read_text(encoding="utf-8")
    return {
        "config/proxy.toml": settings,
        ".env.example": environment_example(settings),
        **{f"systemd/{path.name}": unit_for(path.read_text(encoding="utf-8"), folder, command) for path in UNITS},
    }


def environment_example(settings: str) -> str:
    """A line for each variable that the settings take something from, with what is said about it there."""
    return "\n".join(
        [
            "# What config/proxy.toml takes from the environment. Copy it to .env, for your eyes only.",
            *_variables(settings),
            "",
        ]
    )


def _variables(settings: str) -> Iterator[str]:
    section, said = "", list[str]()
    for line in settings.splitlines():
        if found := _TAKEN.fullmatch(line):
            key, variable, remark = found.groups()
            yield from ("", f"# {section}.{key}", *said, *([f"# {remark}"] if remark else ()), f"{variable}=")
        if header := _SECTION.fullmatch(line):
            section = header[1]
        said = [*said, line] if line.startswith("# ") else []


def unit_for(unit: str, folder: Path, command: Path) -> str:
    """The same unit for an installation elsewhere, with a head that says how it is installed."""
    head = f"""# Written by `app-proxy init`. As root:
#   useradd --system --home-dir /var/lib/app-proxy --shell /usr/sbin/nologin app-proxy
#   cp {folder}/systemd/*.service /etc/systemd/system/ && systemctl enable --now app-proxy-web app-proxy-worker
# The user app-proxy must be able to read {folder}/config; {folder}/.env is read by systemd itself.
# In proxy.toml spool_dir = "/var/lib/app-proxy/spool" and the accounts' database likewise: all else is read-only."""
    places = {
        f"={_COMMAND}": f"={_quoted(command)}",
        f"=APP_PROXY_CONFIG={_CONFIG}": f"={_quoted(f'APP_PROXY_CONFIG={folder}/config/proxy.toml')}",
        f"=-{_ENVIRONMENT}": f"=-{_literal(folder)}/.env",
    }
    body = unit.partition("\n\n")[2]
    for usual, here in places.items():
        body = body.replace(usual, here)
    return f"{head}\n\n{body}"


def hidden_from_units(*paths: Path) -> list[Path]:
    """Those that a service with ProtectHome=yes cannot see."""
    return [path for path in paths if any(path.is_relative_to(it) for it in _HIDDEN)]


def _literal(text: object) -> str:
    """systemd has specifiers that begin with %."""
    return str(text).replace("%", "%%")


def _quoted(text: object) -> str:
    """As one word of a unit."""
    plain = _literal(text)
    return plain if re.fullmatch(r"[\w/.=%@+-]+", plain) else f'"{plain}"'
