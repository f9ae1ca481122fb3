"""Where a signed-in user's devices are reached."""

from dataclasses import dataclass

from flask import Blueprint, Response

from proxy.auth import Authenticated, account_of
from proxy.domain.devices import Address, Device, Platform, fingerprint
from proxy.errors import BadRequest, NotAllowed, NotFound
from proxy.metrics import push_tokens_moved_total
from proxy.usecases.register_device import check_device_id, choose_section, read_registration
from proxy.web import current_request, current_services
from proxy.web.access import add_log_context, audit
from proxy.web.body import read_object
from proxy.web.callers import Caller, current_caller, require
from proxy.web.cors import require_origin
from proxy.web.envelope import envelope
from proxy.web.limits import Limited
from proxy.web.query import asked_in_query, asked_section

bp = Blueprint("devices", __name__, url_prefix="/api/devices")

_READ, _WRITE = "devices:read", "devices:write"  # as texts: where no API key counts, their module is not loaded


@bp.put("/<device_id>")
@require(Caller.CLIENT, Limited.CLIENT)
def register(device_id: str) -> Response:
    """Registers, or replaces what was registered under this id. The push token moves here from wherever it was."""
    services = current_services()
    whose = _whose(_WRITE)
    check_device_id(device_id)
    device = read_registration(
        read_object(current_request().environ),
        device_id=device_id,
        account=whose.account,
        bound_app=whose.bound_app,
        apps=services.settings.apps,
        now=services.store_now(),
    )
    require_origin(device.app)
    registered = services.devices.register(device)
    if registered.moved:
        push_tokens_moved_total.labels(device.app).inc()
    facts: dict[str, str | int | None] = {
        "app": device.app,
        "moved": registered.moved,
        "platform": device.platform.value,
        "fingerprint": fingerprint(device.push_token),
    }
    if device.fallbacks:
        facts["fallbacks"] = " ".join(f"{it.platform}:{fingerprint(it.push_token)}" for it in device.fallbacks)
    add_log_context(**facts)
    audit("device registered", account=whose.account, **whose.proof, device_id=device_id, **facts)
    for oldest in registered.gone:
        audit("device made room", account=whose.account, app=device.app, device_id=oldest)
    return envelope(200, data=_shown(device))


@bp.get("/<device_id>")
@require(Caller.CLIENT, Limited.CLIENT)
def show(device_id: str) -> Response:
    check_device_id(device_id)
    for device in _devices_asked_for():
        if device.device_id == device_id:
            return envelope(200, data=_shown(device))
    raise NotFound("device_id: is not registered")


@bp.get("")
@require(Caller.CLIENT, Limited.CLIENT)
def list_all() -> Response:
    return envelope(200, data=[_shown(device) for device in _devices_asked_for()])


@bp.delete("/<device_id>")
@require(Caller.CLIENT, Limited.CLIENT)
def remove(device_id: str) -> Response:
    whose = _whose(_WRITE)
    check_device_id(device_id)
    section = _section(whose.bound_app)
    if not current_services().devices.remove(section, whose.account, device_id):
        raise NotFound("device_id: is not registered")
    audit("device removed", account=whose.account, app=section, **whose.proof, device_id=device_id)
    return envelope(200)


@dataclass(frozen=True)
class _Whose:
    """Whose devices a call is about; and what an audit line says of who asks."""

    account: str
    bound_app: str | None
    proof: dict[str, str]


def _whose(scope: str) -> _Whose:
    """A user's own; for a service with the scope those of the `account` in the query."""
    caller = current_caller()
    if isinstance(caller, Authenticated):
        return _Whose(caller.app_account, caller.bound_app, {"backend": caller.backend})
    if scope not in caller.scopes:
        raise NotAllowed(f"the API key has not the scope {scope}")
    named = asked_in_query("account")
    account = account_of(named)
    if account is None:
        raise BadRequest("account", expected="an account in the query", got=... if named is None else named)
    return _Whose(account, caller.app, {"backend": "api_key", "api_key_id": caller.id, "api_key_name": caller.name})


def _devices_asked_for() -> list[Device]:
    whose = _whose(_READ)
    return current_services().devices.devices_of(_section(whose.bound_app), whose.account)


def _section(bound_app: str | None) -> str:
    """The section in the query's `app`, optional where there is only one."""
    section = choose_section(asked_section(), bound_app, current_services().settings.apps)
    add_log_context(app=section)
    require_origin(section)
    return section


def _shown(device: Device) -> dict[str, object]:
    """The push token itself goes in and never out."""
    return {
        "app": device.app,
        "device_id": device.device_id,
        **_shown_address(device.addresses[0]),
        "fallbacks": [_shown_address(it) for it in device.fallbacks],
        "locale": device.locale,
        "resource": device.resource,
        "preview": device.preview.value,
        "registered_at": device.registered_at.isoformat(timespec="seconds"),
        "invalid_reason": device.invalid_reason or None,
    }


def _shown_address(address: Address) -> dict[str, object]:
    return {
        "platform": address.platform.value,
        "push_token_fingerprint": fingerprint(address.push_token),
        "environment": address.environment.value if address.platform is Platform.APNS else None,
    }
