"""What the emulated MIMC is told at start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from proxy.emulators.sections import Section


@dataclass(frozen=True)
class MimcApp:
    """One app as MIMC's console knows it. `instant` and `offline` callbacks may go to URLs of their own."""

    app_id: str
    app_key: str = field(repr=False)
    app_secret: str = field(repr=False)
    package: str = "com.example.chat"
    callback_url: str | None = field(default=None, repr=False)  # the path holds a secret
    instant_callback_url: str | None = field(default=None, repr=False)
    offline_callback_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class MimcConfig:
    """`time_scale` multiplies the pauses before a callback is repeated: 0.01 makes 5 s 50 ms.

    With `refuse_with_http_status` a refusal's HTTP status is its code; without, it is 200 and only the body's code
    tells. MIMC documents neither, and its demos read the body of a 200. `clock_offset_s` is how far its clock is ahead.
    """

    apps: tuple[MimcApp, ...]
    host: str = "127.0.0.1"
    port: int = 0
    tls_folder: Path | None = None
    refuse_with_http_status: bool = False
    time_scale: float = 1.0
    callback_threads: int = 8
    callback_timeout_s: float = 5.0
    callback_ca_file: Path | None = None
    callback_backlog: int = 10_000
    clock_offset_s: float = 0.0

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> "MimcConfig":
        """Read a TOML section. Raises BadSettings with all faults."""
        section = Section(values)
        tls_folder, ca_file = section.optional_text("tls_folder"), section.optional_text("callback_ca_file")
        config = cls(
            apps=tuple(_read_app(app) for app in section.tables("apps")),
            host=section.text("host", cls.host),
            port=section.integer("port", cls.port, 0, 65535),
            tls_folder=Path(tls_folder) if tls_folder else None,
            refuse_with_http_status=section.flag("refuse_with_http_status", default=cls.refuse_with_http_status),
            time_scale=section.number("time_scale", cls.time_scale, 0, 10),
            callback_threads=section.integer("callback_threads", cls.callback_threads, 1, 256),
            callback_timeout_s=section.number("callback_timeout_s", cls.callback_timeout_s, 0.01, 120),
            callback_ca_file=Path(ca_file) if ca_file else None,
            callback_backlog=section.integer("callback_backlog", cls.callback_backlog, 1, 1_000_000),
            clock_offset_s=section.number("clock_offset_s", cls.clock_offset_s, -1_000_000, 1_000_000),
        )
        if not config.apps:
            section.fault("apps", "expected at least one app")
        if len({app.app_id for app in config.apps}) < len(config.apps):
            section.fault("apps", "two apps have the same app_id")
        section.finish()
        return config


def _read_app(section: Section) -> MimcApp:
    app = MimcApp(
        app_id=section.digits("app_id"),
        app_key=section.text("app_key"),
        app_secret=section.text("app_secret"),
        package=section.text("package", MimcApp.package),
        callback_url=_url(section, "callback_url"),
        instant_callback_url=_url(section, "instant_callback_url"),
        offline_callback_url=_url(section, "offline_callback_url"),
    )
    section.finish()
    return app


def _url(section: Section, member: str) -> str | None:
    url = section.optional_text(member)
    if url is not None and not url.startswith(("http://", "https://")):
        section.fault(member, "expected an http or https address")
    return url
