"""`app-proxy lanes`: what waits in each lane, which are paused and why, the end of a pause, and of a webhook."""

import math
from pathlib import Path
from typing import Any

import click

from proxy.commands import Commands, as_json, config_option, store_of
from proxy.configuration import load_settings
from proxy.domain.lanes import Lane
from proxy.domain.webhooks import is_webhook
from proxy.errors import ProxyError
from proxy.settings import Settings
from proxy.store.queue.lane_states import LaneView, drop_lane, lane_views, resume_now
from proxy.wiring.common import lanes_of, webhooks_of


@click.group(cls=Commands)
def lanes() -> None:
    """See what waits in the lanes of phones and webhooks, which of them are paused, and end a pause.

    A paused lane goes on by itself once a probe gets through; one whose webhook answered 410 waits for `resume`.
    """


@lanes.command("list")
@config_option
def list_lanes(config: Path | None) -> None:
    """One line of JSON for each lane."""
    settings = load_settings(config)
    for view in lane_views(store_of(settings), _all(settings)):
        shown = {"lane": view.lane.name, "waiting": view.waiting, "retrying": view.retrying}
        click.echo(as_json({**shown, "paused": _pause(view)}))


@lanes.command("resume")
@config_option
@click.argument("lane")
def resume(config: Path | None, lane: str) -> None:
    """End the pause of a LANE, called as `list` calls it: main/webhook-crm. Its workers go on within a second."""
    settings = load_settings(config)
    found = next((it for it in _all(settings) if it.name == lane), None)
    if found is None:
        raise ProxyError(f"there is no such lane; there are {', '.join(it.name for it in _all(settings))}")
    was_paused = resume_now(store_of(settings), found)
    click.echo(as_json({"lane": found.name, "result": "resumed" if was_paused else "was not paused"}))


@lanes.command("drop")
@config_option
@click.argument("lane")
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(config: Path | None, lane: str, yes: bool) -> None:
    """Delete what waits for a webhook that is in the settings no longer: LANE is main/webhook-crm."""
    settings = load_settings(config)
    app, _, channel = lane.partition("/")
    if app not in settings.apps or not is_webhook(channel):
        raise ProxyError("expected the lane of a webhook, like main/webhook-crm")
    found = Lane(settings.apps[app].app_id, app, channel)
    if found in _all(settings):
        raise ProxyError("the settings have it still: take it out of them, and restart web and worker, first")
    if not yes:
        click.confirm(f"All that waits in {lane} is to be deleted for good. Go on?", abort=True, err=True)
    click.echo(as_json({"lane": found.name, "dropped": drop_lane(store_of(settings), found)}))


def _pause(view: LaneView) -> dict[str, Any] | None:
    if view.pause is None:
        return None
    pause, probe_in_s = view.pause, math.ceil(view.probe_in.total_seconds())
    since = pause.since.isoformat(timespec="seconds")
    return {"kind": pause.kind, "reason": pause.reason, "since": since, "next_probe_in_s": probe_in_s}


def _all(settings: Settings) -> list[Lane]:
    return [*lanes_of(settings), *(it.lane for it in webhooks_of(settings))]
