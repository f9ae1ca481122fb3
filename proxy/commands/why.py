"""`app-proxy explain`: what became of a message, of an account's messages, or of a device's."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from proxy.commands import as_json, config_option, store_clock, store_of
from proxy.commands.time_params import Moment
from proxy.configuration import load_settings
from proxy.domain.devices import Device
from proxy.domain.history import KEPT, Noted
from proxy.domain.preferences import Preferences
from proxy.domain.previews import Preview
from proxy.domain.timeline import Event, Story, stories
from proxy.domain.times import from_ms
from proxy.settings import Settings
from proxy.store.tracing import AccountNow, Found, Question, Tracer
from proxy.text import printable
from proxy.wiring.common import app_ids_of, lanes_of

_MOST = 10_000  # notes of one account


@click.command("explain")
@config_option
@click.option("--message", help="A message's id, as the log lines have it.")
@click.option("--account", help="What became of this account's messages, and what is set for it now.")
@click.option("--device", help="What became of the messages for this device_id.")
@click.option("--since", type=Moment(), help="Only what was noted since then. Default: 7 days, which is all.")
@click.option("--app", help="Only this section's appId.")
@click.option("--json", "in_json", is_flag=True, help="One JSON object.")
def explain(
    config: Path | None,
    message: str | None,
    account: str | None,
    device: str | None,
    since: datetime | None,
    app: str | None,
    in_json: bool,
) -> None:
    """Tell why there was an alert, or why there was none: what happened to each message, step by step.

    Name a message, an account or a device, or several to narrow it down. Times are the store's; "MIMC sent" is MIMC's
    own, as it was given. What people wrote is neither kept nor shown.
    """
    if not (message or account or device):
        raise click.UsageError("name a --message, an --account or a --device")
    settings = load_settings(config)
    now = store_clock(settings)()
    question = Question(max(since or now - KEPT, now - KEPT), None, message, account, device)
    found = [find(settings, section, question, now) for section in one_for_each_app_id(settings, app)]
    if in_json:
        click.echo(as_json({"apps": [_facts(one) for one in found]}))
    else:
        click.echo(printable("\n".join(line for one in found for line in _lines(one)), keep="\n"))


def find(settings: Settings, section: str, question: Question, now: datetime) -> Found:
    tracer = Tracer(store_of(settings), app_ids_of(settings), lanes_of(settings), _MOST)
    return tracer.find(section, question, now)


def one_for_each_app_id(settings: Settings, app: str | None) -> list[str]:
    if app is not None and app not in settings.apps:
        raise click.BadParameter(f"expected one of {', '.join(settings.apps)}", param_hint="--app")
    by_app_id = {section.app_id: name for name, section in reversed(settings.apps.items())}
    return [app] if app else list(reversed(by_app_id.values()))


def _account(now: AccountNow) -> dict[str, Any]:
    devices = [_device(one) for one in now.devices]
    return {"blocked": now.blocked, **_preferences(now.preferences), "devices": devices}


def _device(device: Device) -> dict[str, str]:
    shown = {
        "app": device.app, "device_id": device.device_id, "channel": device.channel,
        "registered_at": device.registered_at.isoformat(timespec="seconds"), "locale": device.locale,
        "resource": device.resource, "preview": "" if device.preview is Preview.FULL else device.preview.value,
        "invalid_reason": device.invalid_reason, "fallbacks": " ".join(it.channel for it in device.fallbacks),
    }  # fmt: skip
    return {name: value for name, value in shown.items() if value}


def _preferences(preferences: Preferences) -> dict[str, Any]:
    quiet = preferences.quiet_hours
    hours = f"{quiet.start:%H:%M} to {quiet.end:%H:%M} {quiet.zone.key}" if quiet else ""
    set_ = {
        "muted": [
            {"conversation": name, "until": mute.until.isoformat(timespec="seconds") if mute.until else None}
            for name, mute in preferences.mutes.items()
        ],
        "quiet_hours": hours,
        "preview": "" if preferences.preview is Preview.FULL else preferences.preview.value,
    }
    return {name: value for name, value in set_.items() if value}


def _facts(found: Found) -> dict[str, Any]:
    return {
        "app_id": found.app_id,
        "reaches_back_to": _time(found.reaches_back_to) if found.reaches_back_to else None,
        **({"now": _account(found.now)} if found.now is not None else {}),
        "messages": [_told(story) for story in stories(found.noted)],
        "notes": [_note(one) for one in found.noted],
    }


def _told(story: Story) -> dict[str, Any]:
    """What the readable form says, line for line; a line's members are left out where they are empty."""
    return {
        "message_id": story.message_id,
        "conversation": story.conversation,
        "events": [_event(event) for event in story.events],
    }


def _event(event: Event) -> dict[str, str]:
    about = {"account": event.account, "place": event.place, "device_id": event.device_id, "says": event.says}
    return {"at": _time(event.at), "step": event.step, **{name: text for name, text in about.items() if text}}


def _note(noted: Noted) -> dict[str, Any]:
    note = noted.note
    times = {
        "sent_at": note.sent_at_ms, "accepted_at": note.accepted_at_ms, "planned_at": note.planned_at_ms,
        "pushed_at": note.pushed_at_ms, "ended_at": note.ended_at_ms,
    }  # fmt: skip
    texts = {
        "message_id": note.message_id, "conversation": note.conversation, "account": note.account,
        "device_id": note.device_id, "app": note.app, "channel": note.channel, "result": note.result,
        "reason": note.reason,
    }  # fmt: skip
    return {
        "at": _time(noted.at),
        **{name: value for name, value in texts.items() if value},
        **({"silent": True} if note.silent else {}),
        **{name: _time(from_ms(ms)) for name, ms in times.items() if ms},
        **({"tries": [{"at": _time(it.at), "reason": it.reason} for it in note.tries]} if note.tries else {}),
    }


def _lines(found: Found) -> Iterator[str]:
    reach = _time(found.reaches_back_to) if found.reaches_back_to else "nothing: it is empty"
    yield f"appId {found.app_id}: the history reaches back to {reach}"
    yield from lines_of_now(found)
    told = stories(found.noted)
    for story in told:
        yield ""
        yield f"message {story.message_id}" + (f" in {story.conversation}" if story.conversation else "")
        yield from (f"  {line_of(event)}" for event in story.events)
    if not told:
        yield "no message: none was planned, or it was longer ago"


def lines_of_now(found: Found) -> Iterator[str]:
    if found.now is not None:
        about = _account(found.now)
        yield "now"
        yield from (f"  {name:<14}{value}" for name, value in about.items() if name != "devices")
        yield from (f"  device        {_sentence(one)}" for one in about["devices"])
        if not about["devices"]:
            yield "  no device is registered"


def _sentence(device: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in device.items())


def line_of(event: Event) -> str:
    who = " ".join(part for part in (event.account, event.place, event.device_id) if part)
    return f"{_time(event.at)}  {event.step:<10}" + "  ".join(["", *(part for part in (who, event.says) if part)])


def _time(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
