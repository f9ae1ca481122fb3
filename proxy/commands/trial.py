"""`app-proxy send-test`."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path

import click

from proxy.auth.credentials import account_of
from proxy.channels.apns.wire import ApnsWire
from proxy.check_config.second_client import push_by_mopyapns
from proxy.commands import config_option, store_clock, store_of
from proxy.commands.why import find, line_of, lines_of_now, one_for_each_app_id
from proxy.configuration import load_settings
from proxy.domain.decisions import Result
from proxy.domain.devices import ApnsEnvironment, Device, Platform
from proxy.domain.jobs import Job, Push
from proxy.domain.offline_messages import Letter, OfflineMessage
from proxy.domain.previews import Preview, strictest
from proxy.domain.timeline import Event, Step, stories
from proxy.errors import ProxyError, StoreUnavailable
from proxy.settings import Settings
from proxy.store.connection import Store
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.queue.inbox import RedisInbox
from proxy.store.server.worker_states import worker_details
from proxy.store.tracing import Found, Question
from proxy.text import printable
from proxy.usecases.trial_message import trial_letter
from proxy.wiring.common import app_ids_of
from proxy.wiring.messages import reading_of_app, vocabulary_of

_LOOK_EVERY_S = 0.2
_UNDER_WAY = (Step.PLANNED, Step.TRIED, Step.PUSHED, Step.WAITS)


@click.command("send-test")
@config_option
@click.option("--account", required=True, help="Whose phones are to ring.")
@click.option("--app", help="The NAME of [apps.NAME]; required where several appIds are configured.")
@click.option("--wait", type=click.IntRange(1, 300), default=20, show_default=True, help="Seconds, for its end.")
@click.option("--via", type=click.Choice(["apns2"]), help="Send it once more to iPhones, by a client not of ours.")
@click.pass_context
def send_test(
    ctx: click.Context, config: Path | None, account: str, app: str | None, wait: int, via: str | None
) -> None:
    """Ring an account's phones for real, and explain what happened.

    A message from "app-proxy send-test" is put where MIMC's callbacks are kept, and the running worker plans and sends
    it as any other: mutes, quiet hours, previews, blocks and paused lanes count. It counts as one unread message.
    Webhooks do not get it. Then its way is told as by `app-proxy explain`.

    With --via apns2 each iPhone gets the same alert again, in the place of the first, by mopyapns (pip install
    'mimc-app-proxy[apns2]'), and both answers are shown side by side. It signs a provider token of its own.

    Exit code 0: a provider took it for every phone that it should reach; 1: for one it did not, or not in time.
    """
    if account_of(account) is None:
        raise click.BadParameter("1 to 256 bytes, without control characters", param_hint="--account")
    settings = load_settings(config)
    section = _section(settings, app)
    if not settings.alerts.history_max_bytes:
        raise ProxyError("alerts.history_max_bytes is 0: without the history it cannot be told what happens")
    clock, store = store_clock(settings), store_of(settings)
    letter = trial_letter(settings.apps[section].app_id, account, secrets.token_hex(16), clock())
    _put(settings, store, letter)
    expected = _expected(settings, store, section, account)
    found = _followed(settings, section, letter.message, clock, expected, wait)
    ends = last_events(found)
    click.echo(printable("\n".join(_told(found)), keep="\n"))
    if via:
        click.echo(printable("\n".join(_side_by_side(settings, store, letter.message, ends)), keep="\n"))
    rang, verdict = verdict_of(ends, wait)
    click.echo(f"\n{verdict}")
    if not rang and (no_worker := store.call(partial(worker_details, shards=())).get("workers")):
        click.echo(f"Workers: {no_worker}. Does `app-proxy worker` run?")
    ctx.exit(0 if rang else 1)


def _section(settings: Settings, app: str | None) -> str:
    sections = one_for_each_app_id(settings, app)
    if len(sections) > 1:
        raise click.UsageError(f"several appIds are configured: name the app, one of --app {', '.join(settings.apps)}")
    return sections[0]


def _put(settings: Settings, store: Store, letter: Letter) -> None:
    its = settings.store
    (receipt,) = RedisInbox(store, settings.relay.dedupe_ttl, its.callbacks_cap, replicas=its.replicas).accept_all(
        [letter]
    )
    if isinstance(receipt, StoreUnavailable):
        raise receipt


def _expected(settings: Settings, store: Store, section: str, account: str) -> int:
    """How many ends there are to wait for: one for each device, and for each channel that knows phones by account."""
    app_ids = app_ids_of(settings)
    registry = RedisDeviceRegistry(store, app_ids)
    count = 0
    for name, app in settings.apps.items():
        if app_ids[name] == app_ids[section]:
            count += len(registry.devices_of(name, account))
            count += sum(1 for it in (app.mipush, app.http) if it is not None and it.address == "account")
    return count


def _followed(
    settings: Settings, section: str, message: OfflineMessage, clock: Callable[[], datetime], expected: int, wait_s: int
) -> Found:
    """What is known of the message once all of it has ended, or the time is over."""
    account = message.recipients[0].account
    question = Question(message.accepted_at, None, message.message_id, account)
    until = time.monotonic() + wait_s
    while True:
        found = find(settings, section, question, clock())
        if time.monotonic() > until or is_over(last_events(found), expected):
            return found
        time.sleep(_LOOK_EVERY_S)


def last_events(found: Found) -> Mapping[str, Event]:
    """The latest of each device, or of each lane that knows phones by account; "": of the account."""
    story = next(iter(stories(found.noted)), None)
    events = story.events if story else ()
    return {event.device_id or event.place: event for event in events if event.account}


def is_over(ends: Mapping[str, Event], expected: int) -> bool:
    if not ends or any(event.step in _UNDER_WAY for event in ends.values()):
        return False
    return "" in ends or len(ends) >= expected


def _told(found: Found) -> Iterator[str]:
    yield from lines_of_now(found)
    for story in stories(found.noted):
        yield f"message {story.message_id}"
        yield from (f"  {line_of(event)}" for event in story.events)


def _side_by_side(
    settings: Settings, store: Store, message: OfflineMessage, ends: Mapping[str, Event]
) -> Iterator[str]:
    """For each iPhone what APNs answered the worker, and what mopyapns."""
    yield f"{'iPhone':<20}{'by the worker':<32}by mopyapns"
    account, registry = message.recipients[0].account, RedisDeviceRegistry(store, app_ids_of(settings))
    for name, app in settings.apps.items():
        devices = registry.devices_of(name, account) if app.apns and app.app_id == message.app_id else []
        for device in devices:
            if device.platform is Platform.APNS:
                event = ends.get(device.device_id)
                ours = event.says or event.step if event else "nothing yet"
                yield f"{device.device_id:<20}{ours:<32}{_by_mopyapns(settings, name, message, device)}"


def _by_mopyapns(settings: Settings, section: str, message: OfflineMessage, device: Device) -> str:
    """The alert as the plan makes it, in the request that a worker would send."""
    app = settings.apps[section]
    if app.apns is None or (device.environment is ApnsEnvironment.SANDBOX and not app.apns.sandbox):
        return "channel is off"
    content = reading_of_app(settings, message.app_id).read(message.payload, message.biz_type)
    alert = message.alert(content.alert_text(message.sender), settings.relay.alert_ttl, urgent=content.urgent)
    shown = alert.at(strictest(Preview(app.messages.preview), device.preview))
    wire = ApnsWire(app.apns, device.environment, vocabulary_of(app.messages))
    push = Push(Job(section, device.channel, device.account, device.device_id, shown), device)
    key = app.apns.key_for(sandbox=device.environment is ApnsEnvironment.SANDBOX)
    return push_by_mopyapns(app.apns, key, wire.build([push], "", message.accepted_at))


def verdict_of(ends: Mapping[str, Event], wait_s: int) -> tuple[bool, str]:
    """Did each phone ring, and in words. A channel that knows no phone of the account counts where no other does."""
    ends = {place: event for place, event in ends.items() if not _knows_no_phone(event)} or ends
    if not ends:
        return False, f"Nothing is known of it within {wait_s} s; `app-proxy explain` may tell later."
    took = [event for event in ends.values() if event.says.startswith("accepted")]
    waiting = [event for event in ends.values() if event.step in _UNDER_WAY]
    if len(took) == len(ends):
        return True, (
            f"{len(took)} of {len(ends)}: the provider took it. A phone that shows nothing is off or offline, or does "
            "not allow the app's alerts."
        )
    if waiting:
        return False, f"{len(took)} of {len(ends)} rang; {len(waiting)} not within {wait_s} s: {waiting[0].says}"
    missed = next(event for event in ends.values() if event not in took)
    return False, f"{len(took)} of {len(ends)} rang. The first that did not: {missed.says} (docs/operations.md)"


def _knows_no_phone(event: Event) -> bool:
    return not event.device_id and event.says == Result.UNKNOWN_ACCOUNT
