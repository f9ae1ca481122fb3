"""`app-proxy web`."""

import os
import sys
from pathlib import Path

import click

from proxy.commands import config_option
from proxy.configuration import PATH_VARIABLE
from proxy.package_data import GUNICORN


@click.command()
@config_option
def web(config: Path | None) -> None:
    """Serve clients and MIMC's callbacks until SIGTERM, by gunicorn; SIGHUP has it read the settings again.

    Any number may run, on any number of machines: they share nothing but the store. The same as
    `gunicorn -c config/gunicorn.conf.py wsgi:app` in the project's folder. Exit code 2: the settings are wrong.
    """
    if config is not None:
        os.environ[PATH_VARIABLE] = str(config)
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", str(GUNICORN), "proxy.app:create_app()"]
    os.execv(gunicorn[0], gunicorn)  # noqa: S606  signals, and systemd's notices, are gunicorn's
