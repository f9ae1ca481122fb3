"""The emulated APNs' own control routes, beside those that all emulators have.

    POST /_emulator/devices      set what APNs knows of device tokens: {"device_token", "state"?, "timestamp_ms"?,
                                 "phone"?}; a phone's name is for those who look at /phones
    GET  /_emulator/phones       what each iPhone shows, and the number on the app's icon (phones.py)
    GET  /_emulator/connections  the live connections: streams open, stream limit, whether it is acknowledged
    POST /_emulator/connections  apply a fault to all of them at once: {"effect": "close" | "goaway" | "reset" |
                                 "silent_connection", "code"?, "reason"?}

The faults to order (a target is a device token; they hit pushes that are otherwise in order):

    answer             `status` (Apple's for the `reason` if left out) with `reason`, for a 410 `code` as its timestamp
    no_body_503        503 without a body; this one and `answer` with `retry_after` as that header
    delay              answered after `delay_ms`; any other answer can have its own `delay_ms` too
    silence            accepted, never answered
    rst_stream         RST_STREAM with `code` (2, INTERNAL_ERROR); with 7, REFUSED_STREAM, the push counts as not taken
    reset              TCP reset; like all that are in flight the push was accepted
    close              the same with an orderly end of the connection, but no GOAWAY
    silent_connection  the connection reads and answers nothing more, for ever
    goaway             GOAWAY; the `code` newest streams are above its last-stream-id and dropped, the others are
                       answered, then the connection closes; `reason` goes into the debug data
    limit              `code` is the stream limit, on live connections at once and on new ones, until the next order
    closed             the push port refuses connections until all faults end; live connections are reset
    untrusted          who connects is shown a certificate of an unknown authority until all faults end; the same
"""

import asyncio
import re
from collections.abc import Callable, Collection

from flask import Blueprint, Flask, jsonify
from flask.typing import ResponseReturnValue

from proxy.emulators.apns.connection import ApnsConnection
from proxy.emulators.apns.phones import phones_of
from proxy.emulators.apns.rules import DEVICE_STATES, Device
from proxy.emulators.apns.shared import CONNECTION_EFFECTS, EFFECTS, Shared, on_loop
from proxy.emulators.control import control_blueprint, given_json, parse_fault

_HEX = re.compile(r"([0-9a-f]{2})+")


def control_app(shared: Shared, connections: Collection[ApnsConnection], loop: asyncio.AbstractEventLoop) -> Flask:
    """The control server's application; what touches connections is handed to their loop."""
    app = Flask(__name__)
    app.register_blueprint(control_blueprint(shared.journal, shared.faults, EFFECTS, shared.counters))
    app.register_blueprint(_own_routes(shared, connections, lambda work: on_loop(loop, work)))
    return app


def _own_routes(
    shared: Shared, connections: Collection[ApnsConnection], run: Callable[[Callable[[], int]], int]
) -> Blueprint:
    bp = Blueprint("apns", __name__, url_prefix="/_emulator")

    @bp.post("/devices")
    def set_devices() -> ResponseReturnValue:
        orders = given_json()
        try:
            known = dict(_parse_device(order) for order in (orders if isinstance(orders, list) else [orders]))
        except ValueError as error:
            return jsonify(error=str(error)), 400
        shared.devices.update(known)
        return jsonify(known=len(known))

    @bp.get("/phones")
    def phones() -> ResponseReturnValue:
        entries, _ = shared.journal.read()
        named = {device_token: device.phone for device_token, device in list(shared.devices.items()) if device.phone}
        return jsonify(phones=phones_of(entries, named))

    @bp.get("/connections")
    def list_connections() -> ResponseReturnValue:
        found: list[dict[str, int | bool | None]] = []

        def collect() -> int:
            found.extend(connection.facts() for connection in connections)
            return len(found)

        run(collect)
        return jsonify(connections=sorted(found, key=lambda facts: facts["connection"] or 0))

    @bp.post("/connections")
    def hit_connections() -> ResponseReturnValue:
        try:
            fault = parse_fault(given_json(), CONNECTION_EFFECTS)
        except ValueError as error:
            return jsonify(error=str(error)), 400

        def hit_all() -> int:
            present = list(connections)
            for connection in present:
                connection.hit(fault)
            return len(present)

        return jsonify(hit=run(hit_all))

    return bp


def _parse_device(order: object) -> tuple[str, Device]:
    if not isinstance(order, dict) or order.keys() - {"device_token", "state", "timestamp_ms", "phone"}:
        raise ValueError("a device is a JSON object of device_token, and perhaps state, timestamp_ms and phone")
    device_token, timestamp_ms = order.get("device_token"), order.get("timestamp_ms")
    state, phone = order.get("state", "registered"), order.get("phone")
    if not isinstance(device_token, str) or not _HEX.fullmatch(device_token.lower()):
        raise ValueError("device_token: expected hexadecimal text")
    if state not in DEVICE_STATES:
        raise ValueError(f"state: expected one of {', '.join(DEVICE_STATES)}")
    if timestamp_ms is not None and (isinstance(timestamp_ms, bool) or not isinstance(timestamp_ms, int)):
        raise ValueError("timestamp_ms: expected milliseconds, an integer")
    if phone is not None and not (isinstance(phone, str) and phone):
        raise ValueError("phone: expected a name")
    return device_token.lower(), Device(state, timestamp_ms, phone)
