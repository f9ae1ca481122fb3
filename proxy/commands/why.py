"""`app-proxy explain`: what became of a message, of an account's messages, or of a device's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from proxy.commands import as_json, config_option, store_clock, store_of
from proxy.commands.time_params import Moment
from proxy.configuration import load_settings
from proxy.domain.devices import Device
from proxy.domain.history import KEPT, Note, Noted, shortened
from proxy.domain.preferences import Preferences
from proxy.domain.previews import Preview
from proxy.domain.timeline import Event, Story, stories
from proxy.domain.times import from_ms
from proxy.settings import Settings
from proxy.store.connection import Store
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.queue.history import RedisHistory
from proxy.store.queue.unended import RedisUnended
from proxy.store.users.blocks import RedisBlocks
from proxy.store.users.preferences import RedisPreferences
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
    question = Question(message, account, device, max(since or now - KEPT, now - KEPT))
    found = [find(settings, section, question, now) for section in one_for_each_app_id(settings, app)]
    if in_json:
        click.echo(as_json({"apps": [_facts(one) for one in found]}))
    else:
        click.echo(printable("\n".join(line for one in found for line in _lines(one)), keep="\n"))


@dataclass(frozen=True)
class Question:
    """What is asked for; what is None narrows nothing down."""

    message: str | None
    account: str | None
    device: str | None
    since: datetime

    def is_about(self, note: Note) -> bool:
        return (
            (self.message is None or shortened(self.message) == note.message_id)
            and self.account in (None, note.account)
            and self.device in (None, note.device_id)
        )


@dataclass(frozen=True)
class Found:
    """What is known in one appId. `now`: what is set for the account, where one was named."""

    app_id: str
    reaches_back_to: datetime | None
    noted: Sequence[Noted]
    now: dict[str, Any] | None


def find(settings: Settings, section: str, question: Question, now: datetime) -> Found:
    store, app_ids = store_of(settings), app_ids_of(settings)
    app_id, history = app_ids[section], RedisHistory(store, app_ids)
    noted = [one for one in _asked(history, section, question) if question.is_about(one.note)]
    unended = RedisUnended(store, lanes_of(settings)).notes(app_id, now, question.is_about)
    about = _account_now(store, app_ids, app_id, question.account) if question.account else None
    return Found(app_id, history.reaches_back_to(section), [*noted, *unended], about)


def _asked(history: RedisHistory, section: str, question: Question) -> list[Noted]:
    if question.account:
        return history.of_account(section, question.account, question.since, _MOST)
    if question.message:
        return history.of_message(section, question.message, question.since)
    return history.of_device(section, question.device or "", question.since)


def one_for_each_app_id(settings: Settings, app: str | None) -> list[str]:
    if app is not None and app not in settings.apps:
        raise click.BadParameter(f"expected one of {', '.join(settings.apps)}", param_hint="--app")
    by_app_id = {section.app_id: name for name, section in reversed(settings.apps.items())}
    return [app] if app else list(reversed(by_app_id.values()))


def _account_now(store: Store, app_ids: dict[str, str], app_id: str, account: str) -> dict[str, Any]:
    sections = [name for name, one in app_ids.items() if one == app_id]
    registry = RedisDeviceRegistry(store, app_ids)
    preferences, _ = RedisPreferences(store, app_ids).read(sections[0], account)
    devices = [_device(one) for name in sections for one in registry.devices_of(name, account)]
    return {
        "blocked": RedisBlocks(store).is_blocked(account, None),
        **_preferences(preferences),
        "devices": devices,
    }


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
        **({"now": found.now} if found.now is not None else {}),
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
        yield "now"
        yield from (f"  {name:<14}{value}" for name, value in found.now.items() if name != "devices")
        yield from (f"  device        {_sentence(one)}" for one in found.now["devices"])
        if not found.now["devices"]:
            yield "  no device is registered"


def _sentence(device: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in device.items())


def line_of(event: Event) -> str:
    who = " ".join(part for part in (event.account, event.place, event.device_id) if part)
    return f"{_time(event.at)}  {event.step:<10}" + "  ".join(["", *(part for part in (who, event.says) if part)])


def _time(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
