"""Requests are the web's occasion to notice that the store came back empty: it has no loop of its own."""

from flask import Flask, request

from proxy.web import current_services


def monitor_store(app: Flask) -> None:
    app.before_request(_look)


def _look() -> None:
    if request.endpoint != "health.alive":  # which asks nobody
        current_services().monitor_store()
