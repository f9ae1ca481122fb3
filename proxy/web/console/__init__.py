"""The console: pages for the person who runs the service, on the operator's listener alone, under /console.

blueprint     the blueprint that all pages share, its headers, and how an error looks
visitors      which operator is looking, from where, and what they may see and change
rules         the decorators that say so of each view: `open_to_look`, `private`, `changes`
pages         a page, and a part of a page that is polled with an ETag
words         what the pages say, in each language: words/LANGUAGE/PAGE.toml
static_files  style and scripts, cached for good under their hash
figures       numbers, ages and times as people read them
moments       times as people choose them
sign_in       operators sign in and out
plots         lines over time, drawn as SVG
now  find  devices  lanes  dead_letters  apps  webhooks  keys    the pages, each with templates/console/PAGE.html
phones        the page of a developer's machine: `emulated` asks the emulators, `phone_views` says what is drawn

Views are thin: what they show comes from readers that the commands use as well. docs/console.md is for operators.
To add a page: a module with its views (see lanes.py), a template, words in each language, its name in `PAGES`, and
`make screenshots`; what it needs to have something to show is in tests/browser/stage.py.
"""

import importlib

from flask import Blueprint

from proxy.web.console.blueprint import EMULATED, PAGES, bp


def blueprint() -> Blueprint:
    """With every page."""
    for name in ("static_files", "sign_in", *PAGES, EMULATED):
        importlib.import_module(f"proxy.web.console.{name}")
    return bp
