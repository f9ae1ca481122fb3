"""What every answer tells a browser: we serve no page, nothing of ours belongs in a frame, and nobody guesses types."""

from flask import Flask, Response

SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
)


def secure_headers(app: Flask) -> None:
    app.after_request(_mark)


def _mark(response: Response) -> Response:
    for name, value in SECURITY_HEADERS:
        response.headers[name] = value
    return response
