"""The emulated MIMC over HTTP: the token service, and the control routes that write messages.

    POST /api/account/token              as the real one
    POST /_emulator/messages             an order or a list of them, see orders.py; answers with the ids given
    GET  /_emulator/messages             {"messages": [...]}: the newest 100, by whom, to whom, their id, type and text
    GET  /_emulator/callbacks/pending    {"pending": n}; ?wait_ms=n waits until it is 0
    PUT  /_emulator/callbacks/urls       {"app_id"?, "callback_url"?, "instant_callback_url"?, "offline_callback_url"?}
    PUT  /_emulator/online               {"app_id"?, "accounts": [...] or {account: [resources]}}: these are signed in,
                                         and no others; GET tells who is
    PUT  /_emulator/uctopics/<topicId>   {"app_id"?, "accounts": [...]}: these join an unlimited group
    GET  /_emulator/about                which calls it answers, and what of it is its own invention
    DELETE /_emulator/tokens             refuse the tokens given out so far; ?account= those of one account

besides MIMC's API (api/), faults and journal (control.py). A fault's target is an app_account, for API calls the one
that acts; it hits token requests and API calls. "refuse" answers MIMC's envelope with `code` (500), `reason` and HTTP
`status`; the other effects are those of wire_faults.py.
"""

import time
from email.utils import formatdate
from typing import Any

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue

from proxy.emulators.control import asked_number, control_blueprint, given_json
from proxy.emulators.mimc.about import about
from proxy.emulators.mimc.api import api_blueprint, calls
from proxy.emulators.mimc.orders import BadOrder
from proxy.emulators.mimc.refusals import Refused
from proxy.emulators.mimc.service import EFFECTS, Mimc, envelope
from proxy.emulators.webhook_sender import BacklogFull


def mimc_app(mimc: Mimc) -> Flask:
    app = Flask("emulated-mimc")
    app.url_map.merge_slashes = False  # two slashes are another path, not one to be sent to
    app.register_blueprint(api_blueprint(mimc))
    app.register_blueprint(
        control_blueprint(mimc.journal, mimc.faults, EFFECTS, lambda: {"pending": mimc.webhooks.pending})
    )

    @app.after_request
    def tell_the_time(response: Response) -> Response:
        response.headers["Date"] = formatdate(time.time() + mimc.clock_offset_s, usegmt=True)
        return response

    @app.post("/api/account/token")
    def issue_token() -> ResponseReturnValue:
        body = given_json()
        return mimc.issue_token(body, request.mimetype, request.environ)

    @app.post("/_emulator/messages")
    def write_messages() -> ResponseReturnValue:
        given = given_json()
        try:
            return jsonify(mimc.write(given) if isinstance(given, list) else mimc.write([given])[0])
        except (BadOrder, UnicodeEncodeError) as error:
            return jsonify(error=str(error)), 400
        except BacklogFull:
            return jsonify(error="too many callbacks are pending"), 503

    @app.get("/_emulator/messages")
    def written() -> ResponseReturnValue:
        return jsonify(messages=mimc.written())

    @app.get("/_emulator/callbacks/pending")
    def pending() -> ResponseReturnValue:
        try:
            wait_ms = asked_number("wait_ms")
        except ValueError as error:
            return jsonify(error=str(error)), 400
        return jsonify(pending=mimc.webhooks.wait_until_idle(min(wait_ms, 600_000) / 1000))

    @app.put("/_emulator/callbacks/urls")
    def set_urls() -> ResponseReturnValue:
        try:
            mimc.set_urls(given_json())
        except BadOrder as error:
            return jsonify(error=str(error)), 400
        return jsonify(ok=True)

    _add_controls(app, mimc)

    @app.errorhandler(404)
    @app.errorhandler(405)
    def no_such_call(error: Any) -> ResponseReturnValue:
        if request.path.startswith("/api/"):  # a test that looks for what a client sent must find this, too
            facts = {"kind": "api", "method": request.method, "path": request.path, "account": None, "app_id": None}
            mimc.journal.write(**facts, outcome="refused", status=error.code, code=error.code, reason=error.name)
        return envelope(error.code, error.code, error.name)

    return app


def _add_controls(app: Flask, mimc: Mimc) -> None:
    """What the API's calls go by besides the orders."""

    @app.put("/_emulator/online")
    def sign_in() -> ResponseReturnValue:
        given = given_json()
        try:
            mimc.sign_in(given)
        except BadOrder as error:
            return jsonify(error=str(error)), 400
        return jsonify(mimc.presence.describe())

    @app.get("/_emulator/online")
    def online() -> ResponseReturnValue:
        return jsonify(mimc.presence.describe())

    @app.put("/_emulator/uctopics/<topic_id>")
    def join(topic_id: str) -> ResponseReturnValue:
        try:
            return jsonify(members=mimc.join(topic_id, given_json()))
        except BadOrder as error:
            return jsonify(error=str(error)), 400
        except Refused as refused:
            return jsonify(error=refused.message), 404

    @app.get("/_emulator/about")
    def tell_about() -> ResponseReturnValue:
        return jsonify(about(mimc.config, calls(mimc.config)))

    @app.delete("/_emulator/tokens")
    def revoke_tokens() -> ResponseReturnValue:
        try:
            account = request.args.get("account")
        except UnicodeDecodeError:
            return jsonify(error="query: expected UTF-8"), 400
        return jsonify(revoked=mimc.tokens.revoke(account))
