"""`[console]`: the pages for the operator, on the operator's listener."""

from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from proxy.settings.fields import Section, rooted, seconds, web_address, written_as

HeaderName = Annotated[str, written_as(r"[A-Za-z0-9-]{0,64}", "a header's name, like X-Forwarded-User")]


def _on_this_machine(value: str) -> str:
    address = urlsplit(web_address(value))
    try:
        is_loopback = ip_address(address.hostname or "").is_loopback
    except ValueError:
        is_loopback = False
    if address.scheme != "http" or not is_loopback or address.path:
        raise ValueError("expected an address of this machine, like http://127.0.0.1:8601")
    return value.rstrip("/")


LocalAddress = Annotated[str, AfterValidator(_on_this_machine)]


class EmulatorSettings(Section):
    """Where the emulators take orders: with all four of them the console has a page that shows their phones."""

    mimc: LocalAddress
    apns: LocalAddress
    mipush: LocalAddress
    http: LocalAddress


class ConsoleSettings(Section):
    """`writes`: operators may change things, not only look. `operators` is a SQLite file of their own accounts, never
    a chat user's. `session` is how long a sign-in lasts. `operator_header` names the header in which a proxy of
    limits.trusted_proxies says which operator is calling; empty: none does. `emulators` is there on a developer's
    machine alone.
    """

    enabled: bool = True
    writes: bool = False
    operators: Annotated[Path, AfterValidator(rooted), Field(validate_default=True)] = Path("operators.sqlite3")
    session: Annotated[timedelta, seconds(ge=60, le=30 * 86_400)] = Field(timedelta(hours=12), alias="session_s")
    operator_header: HeaderName = ""
    emulators: EmulatorSettings | None = None
