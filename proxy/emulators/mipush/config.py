"""The settings of the emulated Xiaomi push: section [mipush] of config/emulators.toml."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from proxy.emulators.settings import AT_LEAST_ONE, HiddenText, HttpSettings, RootedPath, Text, Timeout
from proxy.settings.fields import Section, refuse

UnknownTargets = Literal["refuse", "ignore", "accept"]


def _of_words_first(title: str) -> str:
    if title.lstrip().startswith("{"):
        raise ValueError("a title may not begin with a variable")
    return title


class Template(Section):
    """A text of the console. `title` and `text` name their variables in braces: "From {keywords1}"."""

    template_id: Text
    parameters: Annotated[tuple[Text, ...], Field(max_length=9)] = ()
    title: Annotated[str, AfterValidator(_of_words_first)] = ""
    text: str = ""


class Channel(Section):
    """A notification class with the templates bound to it."""

    channel_id: Text
    kind: Literal["private", "public"] = "private"
    templates: tuple[Template, ...] = ()


class MipushApp(Section):
    package: Text
    app_secret: HiddenText
    channels: tuple[Channel, ...] = ()


def _different_apps(apps: tuple[MipushApp, ...]) -> tuple[MipushApp, ...]:
    if len({app.app_secret for app in apps}) < len(apps):
        raise ValueError("two apps have the same app_secret, which distinguishes the apps")
    return apps


class MipushConfig(HttpSettings):
    """How strict, where, and for which apps.

    `unknown_targets`: an account that no phone has set makes the whole call fail ("refuse"), is left out as long as
    others are known ("ignore"), or gets a phone of its own, like an unknown registration id ("accept"). Which of the
    first two the real service does is not known.
    """

    apps: Annotated[tuple[MipushApp, ...], AT_LEAST_ONE, AfterValidator(_different_apps)]
    unknown_targets: UnknownTargets = "refuse"
    require_template: bool = True  # of 2027: no message without a channel and a template bound to it
    quota_interval_s: Annotated[float, Field(ge=0, le=60)] = 1.0
    receipt_timeout_s: Timeout = 5.0
    receipt_ca_file: RootedPath | None = None

    @model_validator(mode="after")
    def _each_app_has_a_template(self) -> "MipushConfig":
        fault = "expected one with a template, as long as require_template is true"
        if self.require_template:
            refuse([
                None if any(channel.templates for channel in app.channels) else (f"apps.{index}.channels", fault)
                for index, app in enumerate(self.apps)
            ])  # fmt: skip
        return self
