"""A site with users of its own, as Django or Laravel builds one: sessions on the server, their key in a cookie.

python -m tests.system.cookie_site PORT

POST /login/ {"username": ...} signs in, POST /logout/ ends the session, GET /whoami/ tells who is signed in and sends
strangers to the sign-in page, as Django's `login_required` does.
"""

import secrets
import sys

from flask import Flask, Response, jsonify, make_response, redirect, request

COOKIE = "sessionid"

app = Flask(__name__)
sessions: dict[str, str] = {}


@app.post("/login/")
def login() -> Response:
    key = secrets.token_hex(16)
    sessions[key] = str(request.get_json()["username"])
    response = make_response("", 204)
    response.set_cookie(COOKIE, key, httponly=True, samesite="Lax")
    return response


@app.post("/logout/")
def logout() -> Response:
    sessions.pop(request.cookies.get(COOKIE, ""), None)
    return make_response("", 204)


@app.get("/whoami/")
def whoami() -> Response:
    username = sessions.get(request.cookies.get(COOKIE, ""))
    if username is None:
        return make_response(redirect("/login/?next=/whoami/"))
    return jsonify({"user": {"username": username}})


if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]), threaded=True)
