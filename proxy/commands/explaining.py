"""`app-proxy explain-payload`."""

from pathlib import Path
from typing import Any, BinaryIO

import click

from proxy.commands import as_json, config_option
from proxy.configuration import load_settings
from proxy.domain.callbacks import Callback
from proxy.mimc.wire import MAX_BODY, parse_callback
from proxy.settings import Settings
from proxy.strict_json import object_or_none
from proxy.text import printable
from proxy.usecases.explain_payload import Explanation, explain_payload
from proxy.wiring.messages import reading_of, vocabulary_of

_OF_CALLBACKS = ("OFFLINE_", "NORMAL_")


@click.command("explain-payload")
@config_option
@click.option("--app", help="The NAME of [apps.NAME]; default: the only one, or the first.")
@click.option("--biz-type", default="", help="MIMC's own bizType, where the file is a payload alone.")
@click.option("--sender", default="alice", show_default=True, help="The sender's account, likewise.")
@click.option("--json", "in_json", is_flag=True, help="One JSON object.")
@click.argument("file", type=click.File("rb"))
def explain(config: Path | None, app: str | None, biz_type: str, sender: str, in_json: bool, file: BinaryIO) -> None:
    """Tell what a payload would say on a phone, in each language, and why.

    FILE holds what your app hands to MIMC as the payload, or a whole callback as MIMC posts it; "-" is standard input.
    Nothing is sent or stored.
    """
    settings = load_settings(config)
    section = settings.apps[_section(settings, app)]
    messages, twins = section.messages, [it for it in settings.apps.values() if it.app_id == section.app_id]
    payload, biz_type, sender = _read(file.read(MAX_BODY), biz_type, sender)
    told = explain_payload(
        payload,
        biz_type,
        sender,
        reading_of(messages),
        vocabulary_of(messages),
        asks_names=any(twin.profiles for twin in twins),
    )
    click.echo(as_json(_facts(told)) if in_json else printable("\n".join(_lines(told)), keep="\n"))


def _section(settings: Settings, app: str | None) -> str:
    if app is not None and app not in settings.apps:
        raise click.BadParameter(f"expected one of {', '.join(settings.apps)}", param_hint="--app")
    return app or next(iter(settings.apps))


def _read(body: bytes, biz_type: str, sender: str) -> tuple[bytes, str, str]:
    """Payload, bizType and sender: of a callback its own. Raises BadCallback."""
    name = (object_or_none(body) or {}).get("msgType")
    callback = parse_callback(body) if isinstance(name, str) and name.startswith(_OF_CALLBACKS) else None
    if isinstance(callback, Callback):
        return callback.payload, callback.biz_type, callback.from_account
    return body, biz_type, sender


def _facts(told: Explanation) -> dict[str, Any]:
    content = told.content
    return {
        "type": told.type,
        "kind": content.kind,
        "silent": content.silent,
        "urgent": content.urgent,
        "expiry_s": told.expiry.total_seconds() if told.expiry else None,
        "msg_id": content.msg_id,
        "about": content.about,
        "mentions": list(content.mentions),
        "why": [{"what": what, "is": why} for what, why in told.reasons],
        "says": {
            language: {"title": text.title, "group": text.group, "text": text.body}
            for language, text in told.says.items()
        },
    }


def _lines(told: Explanation) -> list[str]:
    content = told.content
    lines = [f"{what:<16}{why}" for what, why in told.reasons]
    facts = (("msgId", content.msg_id), ("about", content.about), ("mentions", ", ".join(content.mentions)))
    lines += [f"{what:<16}{value}" for what, value in facts if value]
    if content.urgent:
        lines.append(f"{'urgent':<16}time-sensitive on iPhones")
    if told.expiry is not None:
        lines.append(f"{'expiry':<16}{told.expiry.total_seconds():g} s")
    if not told.says:
        return [*lines, "", "no alert: the kind is silent"]
    lines.append("")
    for language, text in told.says.items():
        names = " | ".join(name for name in (text.title, text.group) if name)
        lines.append(f"{language:<16}{names + ': ' if names else ''}{text.body}")
    return lines
