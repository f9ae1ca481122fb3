"""What the emulated Xiaomi push is told at start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from proxy.emulators.sections import Section

UnknownTargets = Literal["refuse", "ignore", "accept"]
UNKNOWN_TARGETS = ("refuse", "ignore", "accept")
_KINDS = ("private", "public")
_MAX_PARAMETERS = 9


@dataclass(frozen=True)
class Template:
    """A text of the console. `title` and `text` name their variables in braces: "{keywords1} wrote"."""

    template_id: str
    parameters: tuple[str, ...]
    title: str = ""
    text: str = ""


@dataclass(frozen=True)
class Channel:
    """A notification class with the templates bound to it."""

    channel_id: str
    kind: str = "private"
    templates: tuple[Template, ...] = ()


@dataclass(frozen=True)
class MipushApp:
    package: str
    app_secret: str = field(repr=False)
    channels: tuple[Channel, ...] = ()


@dataclass(frozen=True)
class MipushConfig:
    """How strict, where, and for whom.

    `unknown_targets`: an account that no phone has set makes the whole call fail ("refuse"), is left out as long as
    others are known ("ignore"), or gets a phone of its own, like an unknown registration id ("accept"). Which of the
    first two the real service does is not known.
    """

    apps: tuple[MipushApp, ...]
    host: str = "127.0.0.1"
    port: int = 0
    tls_folder: Path | None = None
    unknown_targets: UnknownTargets = "refuse"
    require_template: bool = True  # of 2027: no message without a channel and a template bound to it
    quota_interval_s: float = 1.0
    receipt_timeout_s: float = 5.0
    receipt_ca_file: Path | None = None

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> "MipushConfig":
        """Read a TOML section. Raises BadSettings with all faults."""
        section = Section(values)
        tls_folder, ca_file = section.optional_text("tls_folder"), section.optional_text("receipt_ca_file")
        require_template = section.flag("require_template", default=cls.require_template)
        config = cls(
            apps=tuple(_read_app(app, require_template=require_template) for app in section.tables("apps")),
            host=section.text("host", cls.host),
            port=section.integer("port", cls.port, 0, 65535),
            tls_folder=Path(tls_folder) if tls_folder else None,
            unknown_targets=cast(
                UnknownTargets, section.choice("unknown_targets", UNKNOWN_TARGETS, cls.unknown_targets)
            ),
            require_template=require_template,
            quota_interval_s=section.number("quota_interval_s", cls.quota_interval_s, 0, 60),
            receipt_timeout_s=section.number("receipt_timeout_s", cls.receipt_timeout_s, 0.01, 120),
            receipt_ca_file=Path(ca_file) if ca_file else None,
        )
        if not config.apps:
            section.fault("apps", "expected at least one app")
        if len({app.app_secret for app in config.apps}) < len(config.apps):
            section.fault("apps", "two apps have the same app_secret, by which they are told apart")
        section.finish()
        return config


def _read_app(section: Section, *, require_template: bool) -> MipushApp:
    app = MipushApp(
        package=section.text("package"),
        app_secret=section.text("app_secret"),
        channels=tuple(_read_channel(channel) for channel in section.tables("channels")),
    )
    if require_template and not any(channel.templates for channel in app.channels):
        section.fault("channels", "expected one with a template, as long as require_template is true")
    section.finish()
    return app


def _read_channel(section: Section) -> Channel:
    channel = Channel(
        channel_id=section.text("channel_id"),
        kind=section.choice("kind", _KINDS, Channel.kind),
        templates=tuple(_read_template(template) for template in section.tables("templates")),
    )
    section.finish()
    return channel


def _read_template(section: Section) -> Template:
    template = Template(
        template_id=section.text("template_id"),
        parameters=section.texts("parameters"),
        title=section.optional_text("title") or "",
        text=section.optional_text("text") or "",
    )
    if len(template.parameters) > _MAX_PARAMETERS:
        section.fault("parameters", f"expected at most {_MAX_PARAMETERS}")
    section.finish()
    return template
