"""`[console]`: the pages for the operator, on the operator's listener."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from proxy.settings.fields import Section, rooted, seconds, written_as

HeaderName = Annotated[str, written_as(r"[A-Za-z0-9-]{0,64}", "a header's name, like X-Forwarded-User")]


class ConsoleSettings(Section):
    """`writes`: operators may change things, not only look. `operators` is a SQLite file of their own accounts, never
    a chat user's. `session` is how long a sign-in lasts. `operator_header` names the header in which a proxy of
    limits.trusted_proxies says which operator is calling; empty: none does.
    """

    enabled: bool = True
    writes: bool = False
    operators: Annotated[Path, AfterValidator(rooted), Field(validate_default=True)] = Path("operators.sqlite3")
    session: Annotated[timedelta, seconds(ge=60, le=30 * 86_400)] = Field(timedelta(hours=12), alias="session_s")
    operator_header: HeaderName = ""
