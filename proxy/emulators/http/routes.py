"""The emulated sender over HTTP.

    POST /alerts    one event, signed
    POST /names     the names of an account and a group, signed
    GET  /_emulator/phones   what each phone shows (phones.py)

besides faults and journal (control.py). It answers 200, 401 to a signature that is not good, 400 and 422 to what is no
event. An event whose webhook-id was accepted before is "repeated" in the journal. A fault's target is an account, a
push token or a path. "gone" answers as for a phone that is no more (410, or `status`), "status" the HTTP status (503),
each with `retry_after` as that header; the other effects are those of wire_faults.py.
"""

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from proxy.emulators.control import control_blueprint
from proxy.emulators.http.phones import phones_of
from proxy.emulators.http.service import EFFECTS, Sender


def sender_app(sender: Sender) -> Flask:
    app = Flask("emulated-sender")
    app.register_blueprint(control_blueprint(sender.journal, sender.faults, EFFECTS))

    @app.post("/alerts")
    def take() -> ResponseReturnValue:
        return sender.take(request.environ, request.headers, request.get_data())

    @app.post("/names")
    def tell() -> ResponseReturnValue:
        return sender.tell(request.environ, request.headers, request.get_data())

    @app.get("/_emulator/phones")
    def phones() -> ResponseReturnValue:
        entries, _ = sender.journal.read()
        return jsonify(phones=phones_of(entries))

    return app
