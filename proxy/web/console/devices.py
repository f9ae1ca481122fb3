"""The devices of an account, a test alert for one of them, and whether the account is blocked."""

import secrets
from datetime import timedelta

from flask import Response, request

from proxy.auth.block_user import disable_user, enable_user
from proxy.auth.credentials import account_of
from proxy.domain.devices import Device, shown
from proxy.domain.lanes import Lane
from proxy.errors import BadRequest, NotFound, NotPossible
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.queue.lane_states import append_job
from proxy.store.users.blocks import RedisBlocks
from proxy.usecases.trial_message import trial_job
from proxy.web import current_services
from proxy.web.console.blueprint import bp
from proxy.web.console.pages import after_change, page
from proxy.web.console.rules import audit_change, changes, private
from proxy.web.console.visitors import console_services
from proxy.web.envelope import HttpRefusal

_LIFE = timedelta(minutes=5)  # a test that rings later tells nothing


@bp.get("/devices")
@private
def devices() -> Response:
    if not request.args.get("account"):
        return page("devices", account="", found=None, blocked=False)
    account = _account(request.args.get("account"))
    found = [shown(device) | {"lane": _lane_of(device)} for name in _apps() for device in _registered(name, account)]
    blocked = RedisBlocks(console_services().store).is_blocked(account, None)
    return page("devices", account=account, found=found, blocked=blocked)


@bp.post("/devices/test")
@changes
def send_test() -> Response:
    account, app, device_id = (
        _account(request.form.get("account")),
        request.form.get("app", ""),
        request.form.get("device"),
    )
    device = next((it for it in _registered(app, account) if it.device_id == device_id), None)
    if device is None:
        raise NotFound("there is no such device")
    services, console = current_services(), console_services()
    device = device.reached_by([lane.channel for lane in console.lanes if lane.app == app])
    lane = _lane_of(device) if device else None
    if device is None or lane is None:
        raise NotPossible("no channel of the settings reaches this device")
    job = trial_job(lane.app_id, device, secrets.token_hex(16), services.store_now(), _LIFE)
    if not append_job(console.store, lane, job, services.settings.store.jobs_cap):
        raise HttpRefusal(503, "the lane is full")
    audit_change(
        "test alert",
        account=account,
        app=app,
        device_id=device.device_id,
        lane=lane.name,
        message_id=job.alert.message_id,
    )
    return after_change("find", "devices.done.sent", message=job.alert.message_id)


@bp.post("/devices/block")
@changes
def block_account() -> Response:
    account, services = _account(request.form.get("account")), current_services()
    sign_ins = services.sign_ins
    if sign_ins is None or not disable_user(account, sign_ins.accounts, sign_ins.blocks, services.now()):
        RedisBlocks(console_services().store).block(account)
    audit_change("account blocked", account=account)
    return after_change("devices", "devices.done.blocked", account=account)


@bp.post("/devices/unblock")
@changes
def unblock_account() -> Response:
    account, services = _account(request.form.get("account")), current_services()
    sign_ins = services.sign_ins
    if sign_ins is None or not enable_user(account, sign_ins.accounts, sign_ins.blocks, services.now()):
        RedisBlocks(console_services().store).unblock(account)
    audit_change("account unblocked", account=account)
    return after_change("devices", "devices.done.unblocked", account=account)


def _apps() -> list[str]:
    return list(current_services().settings.apps)


def _registered(app: str, account: str) -> list[Device]:
    apps = current_services().settings.apps
    registry = RedisDeviceRegistry(console_services().store, {name: it.app_id for name, it in apps.items()})
    return registry.devices_of(app, account) if app in apps else []


def _lane_of(device: Device) -> Lane | None:
    """None: its channel is not in the settings."""
    lanes = console_services().lanes
    return next((lane for lane in lanes if (lane.app, lane.channel) == (device.app, device.channel)), None)


def _account(given: str | None) -> str:
    account = account_of(given)
    if account is None:
        raise BadRequest("account", expected="1 to 256 bytes without control characters", got=given)
    return account
