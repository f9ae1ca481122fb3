"""The emulated Xiaomi push over HTTP.

    POST /v2/message/regid, /v2/message/user_account   as the real ones
    POST /v3/message/.../revoke                        what is shown under a notify_id goes
    GET  /v1/trace/quota/get                           the allowance; too often: 10027
    POST /_emulator/devices    {"phone": name, "regid"?, "accounts"?: [...], "package"?, "state"?} or a list of them;
                               state: "on", "disabled" or "away"
    DELETE /_emulator/devices[/<phone>]
    GET  /_emulator/phones     what each phone shows
    POST /_emulator/phones/<phone>/click   its user taps all that it shows
    PUT  /_emulator/settings   {"unknown_targets"?: "refuse" | "ignore" | "accept", "day_quota"?: n}

besides faults and journal (control.py). A fault's target is an account, a registration id or a path. "code" answers
`code` (10001) with `reason` and HTTP `status` (200), "status" the HTTP status alone (503), "not_json" a web page, each
with `retry_after` as that header; the other effects are those of wire_faults.py. Receipts are posted once to
extra.callback, as the real service does.
"""

from typing import Any, get_args

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from proxy.emulators.control import control_blueprint, given_json
from proxy.emulators.mipush.config import UnknownTargets
from proxy.emulators.mipush.phones import parse_phones
from proxy.emulators.mipush.service import EFFECTS, Mipush, failure

_TARGET_KINDS = {"regid": "registration_id", "user_account": "user_account"}


def mipush_app(mipush: Mipush) -> Flask:
    app = Flask("emulated-mipush")
    app.register_blueprint(
        control_blueprint(mipush.journal, mipush.faults, EFFECTS, lambda: {"pending": mipush.webhooks.pending})
    )

    @app.post("/v2/message/<any(regid, user_account):kind>")
    def send(kind: str) -> ResponseReturnValue:
        return mipush.send(_TARGET_KINDS[kind], request.environ, request.headers, request.get_data())

    @app.post("/v3/message/<any(regid, user_account):kind>/revoke")
    def revoke(kind: str) -> ResponseReturnValue:
        return mipush.revoke(_TARGET_KINDS[kind], request.environ, request.headers, request.get_data())

    @app.get("/v1/trace/quota/get")
    def quota() -> ResponseReturnValue:
        return mipush.quota(request.environ, request.headers)

    @app.errorhandler(404)
    @app.errorhandler(405)
    def no_such_call(error: Any) -> ResponseReturnValue:
        answer = failure(10020, "no such interface")
        answer.status_code = error.code
        return answer

    _add_controls(app, mipush)
    return app


def _add_controls(app: Flask, mipush: Mipush) -> None:
    @app.post("/_emulator/devices")
    def put_phones() -> ResponseReturnValue:
        try:
            phones = parse_phones(given_json(), mipush.packages)
        except ValueError as error:
            return jsonify(error=str(error)), 400
        mipush.phones.put(phones)
        return jsonify(phones=len(phones))

    @app.delete("/_emulator/devices")
    @app.delete("/_emulator/devices/<phone>")
    def forget_phones(phone: str | None = None) -> ResponseReturnValue:
        mipush.phones.remove(phone)
        return jsonify(ok=True)

    @app.get("/_emulator/phones")
    def phones() -> ResponseReturnValue:
        return jsonify(phones=mipush.phones.describe())

    @app.post("/_emulator/phones/<phone>/click")
    def click(phone: str) -> ResponseReturnValue:
        return jsonify(clicked=mipush.click(phone))

    @app.put("/_emulator/settings")
    def change_settings() -> ResponseReturnValue:
        given = given_json()
        if not isinstance(given, dict) or not given or given.keys() - {"unknown_targets", "day_quota"}:
            return jsonify(error="expected an object with unknown_targets, day_quota or both"), 400
        unknown, quota = given.get("unknown_targets", mipush.unknown_targets), given.get("day_quota", mipush.day_quota)
        if unknown not in get_args(UnknownTargets):
            return jsonify(error=f"unknown_targets: expected one of {', '.join(get_args(UnknownTargets))}"), 400
        if not isinstance(quota, int) or isinstance(quota, bool) or quota < 0:
            return jsonify(error="day_quota: expected a whole number"), 400
        mipush.unknown_targets, mipush.day_quota = unknown, quota
        return jsonify(ok=True)
