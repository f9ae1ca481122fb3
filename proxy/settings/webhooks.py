"""Servers of the developer's to which callbacks are passed on."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from proxy.settings.channels import SignedRequests
from proxy.settings.fields import Digits, Name, seconds

Account = Annotated[str, Field(min_length=1, max_length=1024)]
CallbackKind = Literal["NORMAL_MSG", "OFFLINE_MSG", "NORMAL_TOPIC_MSG", "OFFLINE_TOPIC_MSG", "UCTOPIC_MSG"]
KINDS: tuple[CallbackKind, ...] = (
    "NORMAL_MSG", "OFFLINE_MSG", "NORMAL_TOPIC_MSG", "OFFLINE_TOPIC_MSG", "UCTOPIC_MSG",
)  # fmt: skip


class WebhookSettings(SignedRequests):
    """One endpoint. `app` is the section whose callbacks it gets; of several with one appId any.

    `accounts` and `topics`: where one of them is not empty, callbacks that concern none of them are left out. `keep` is
    how long a callback is tried, `max_waiting` how many wait at most.
    """

    name: Name
    app: Name
    kinds: Annotated[tuple[CallbackKind, ...], Field(min_length=1)] = KINDS
    accounts: Annotated[tuple[Account, ...], Field(max_length=1000)] = ()
    topics: Annotated[tuple[Digits, ...], Field(max_length=1000)] = ()
    pass_authentication: bool = False
    keep: Annotated[timedelta, seconds(ge=1, le=604_800)] = Field(timedelta(days=1), alias="keep_s")
    max_waiting: Annotated[int, Field(ge=1, le=10_000_000)] = 200_000
