"""What any Flask service costs under the same gunicorn: one route, a few bytes, no SECRET_KEY."""

from flask import Flask

app = Flask(__name__)


@app.post("/")
def nothing() -> bytes:
    return b"ok"
