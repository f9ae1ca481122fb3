"""The settings of the emulated MIMC: section [mimc] of config/emulators.toml."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from proxy.emulators.settings import (
    AT_LEAST_ONE,
    ClockOffset,
    HiddenText,
    HttpSettings,
    RootedPath,
    Text,
    Timeout,
    matching,
)
from proxy.settings.fields import Section, digits

AppId = Annotated[str, matching("[0-9]+", "a number of digits"), BeforeValidator(digits)]
WebAddress = Annotated[str, matching("https?://.*", "an http or https address")]
PerSecond = Annotated[int, Field(ge=0, le=1_000_000)]
AtMost = Annotated[int, Field(ge=1, le=1_000_000)]
CallbackUrl = Annotated[WebAddress | None, Field(repr=False)]  # the path holds a secret


class MimcApp(Section):
    """One app as MIMC's console knows it. `instant` and `offline` callbacks may go to URLs of their own."""

    app_id: AppId
    app_key: HiddenText
    app_secret: HiddenText
    package: Text = "com.example.chat"
    callback_url: CallbackUrl = None
    instant_callback_url: CallbackUrl = None
    offline_callback_url: CallbackUrl = None


def _different_apps(apps: tuple[MimcApp, ...]) -> tuple[MimcApp, ...]:
    if len({app.app_id for app in apps}) < len(apps):
        raise ValueError("two apps have the same app_id")
    return apps


class MimcConfig(HttpSettings):
    """`time_scale` multiplies the pauses before a callback is repeated: 0.01 makes 5 s 50 ms.

    With `refuse_with_http_status` a refusal's HTTP status is its code; without, it is 200 and only the body's code
    tells. MIMC documents neither, and its demos read the body of a 200. `clock_offset_s` is how far its clock is ahead.

    Pushes in a second, of each app: MIMC's older documents say 1000 of each kind; newer ones 50 to accounts, 20 to
    groups and 50 to unlimited groups. 0 is no limit. `stored_by_default` is what a push without isStore means: yes in
    the older documents, no in the newer ones. `undocumented` adds the calls that one old source alone knows.
    """

    apps: Annotated[tuple[MimcApp, ...], AT_LEAST_ONE, AfterValidator(_different_apps)]
    refuse_with_http_status: bool = False
    time_scale: Annotated[float, Field(ge=0, le=10)] = 1.0
    callback_threads: Annotated[int, Field(ge=1, le=256)] = 8
    callback_timeout_s: Timeout = 5.0
    callback_ca_file: RootedPath | None = None
    callback_backlog: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000
    clock_offset_s: ClockOffset = 0.0
    p2p_per_second: PerSecond = 1000
    topic_per_second: PerSecond = 1000
    uctopic_per_second: PerSecond = 1000
    stored_by_default: bool = True
    undocumented: bool = False
    topic_members: Annotated[int, Field(ge=1, le=100_000)] = 500
    max_tokens: AtMost = 10_000
    max_topics: AtMost = 10_000
    max_messages: AtMost = 10_000
