"""One API call as it came in, and how its members are read. What is wrong is Refused, naming the member."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import Headers

from proxy.emulators.mimc.credentials import Caller, is_text
from proxy.emulators.mimc.refusals import BAD_REQUEST, Refused

if TYPE_CHECKING:
    from proxy.emulators.mimc.service import Mimc


class Credentials(Enum):
    """Where a call has its credentials, see credentials.py."""

    BODY = "body"
    HEADERS = "headers"


@dataclass(frozen=True)
class Asked:
    """A call of a known caller. `values` are those of the body, of the query where there is none, and of the path."""

    caller: Caller
    values: Mapping[str, Any]
    headers: Headers

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if not is_text(value):
            raise Refused(BAD_REQUEST, f"{name}: expected a non-empty text")
        return str(value)

    def optional_text(self, name: str) -> str | None:
        """None if it is missing; an empty text is one here."""
        value = self.values.get(name)
        if value is not None and value != "" and not is_text(value):
            raise Refused(BAD_REQUEST, f"{name}: expected a text")
        return value

    def number(self, name: str) -> int:
        """MIMC's clients send numbers as texts, too."""
        return _number(self.values.get(name), name)

    def flag(self, name: str, default: bool) -> bool:
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise Refused(BAD_REQUEST, f"{name}: expected true or false")
        return default if value is None else value

    def topic_id(self) -> str:
        return str(self.number("topicId"))

    def topic_ids(self) -> list[str]:
        return [str(_number(value, "topicIds")) for value in self._list("topicIds")]

    def topic_id_in_header(self) -> str:
        """Unlimited groups are named there."""
        return str(self.number_in_header("topicId"))

    def number_in_header(self, name: str, default: int | None = None) -> int:
        return _number(self.headers.get(name, default), name)

    def texts(self, name: str) -> list[str]:
        values = self._list(name)
        if not all(is_text(value) for value in values):
            raise Refused(BAD_REQUEST, f"{name}: expected a list of non-empty texts")
        return values

    def joined(self, name: str) -> list[str]:
        """Accounts in one text with commas between them, each once."""
        return list(dict.fromkeys(account for account in (self.optional_text(name) or "").split(",") if account))

    def joined_some(self, name: str) -> list[str]:
        accounts = self.joined(name)
        if not accounts:
            raise Refused(BAD_REQUEST, f"{name}: expected accounts with commas between them")
        return accounts

    def _list(self, name: str) -> list[Any]:
        values = self.values.get(name)
        if not isinstance(values, list) or not values:
            raise Refused(BAD_REQUEST, f"{name}: expected a non-empty list")
        return values


@dataclass(frozen=True)
class Call:
    """One call of the API. In `path` a member in braces, as in "/api/topic/{appId}", is part of the call's values.

    With app credentials a call may name its account in the member `account_member` instead of in a header. What is
    not `documented` is known from one old source alone, and answered only if the settings say so.
    """

    method: str
    path: str
    credentials: Credentials
    act: "Callable[[Mimc, Asked], Any]"
    message: str = "success"
    account_member: str | None = None
    documented: bool = True


def _number(value: object, name: str) -> int:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Refused(BAD_REQUEST, f"{name}: expected a whole number, or a text of digits")
    return int(text)
