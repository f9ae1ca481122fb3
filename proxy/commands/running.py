"""`app-proxy run` and `app-proxy worker`."""

import asyncio
import os
from pathlib import Path

import click
import structlog

from proxy.commands import config_option
from proxy.commands.stores import store_of
from proxy.configuration import load_settings, taken_from_platform
from proxy.local.play import run_own, run_trial
from proxy.logs import configure_logs
from proxy.metrics import log_lines_lost_total
from proxy.store.server.policy import refuse_eviction
from proxy.wiring.worker import run_worker


@click.command()
@click.option("--demo", is_flag=True, help="Stop after the main job has been played.")
@click.option("--config", type=click.Path(path_type=Path), help="Yours, instead of a trial on the emulators.")
@click.option(
    "--state", type=click.Path(path_type=Path), default=Path(".state"), show_default=True, help="Store, logs, records."
)
@click.option("--port", type=click.IntRange(1, 65535), help="The web's port. Default: 8080, or a free one.")
@click.pass_context
def run(ctx: click.Context, demo: bool, config: Path | None, state: Path, port: int | None) -> None:
    """Run everything on this machine: store, emulators, web, worker; play the main job once; stay up.

    Without an account anywhere. With --config (or $APP_PROXY_CONFIG) it serves your own app instead: no emulators,
    nothing is played. REDIS_URL names a store to use in place of the embedded one.

    Exit codes: 0 fine, 1 a step failed, 2 it could not start (a second copy, a taken port).
    """
    config = config or (Path(os.environ["APP_PROXY_CONFIG"]) if os.environ.get("APP_PROXY_CONFIG") else None)
    ctx.exit(run_own(state, config, click.echo) if config else run_trial(state, port, click.echo, demo=demo))


@click.command()
@config_option
def worker(config: Path | None) -> None:
    """Plan and deliver until SIGTERM; then finish what is in flight and leave the rest to the others.

    Any number of workers may run, on any number of machines: they share nothing but the store.
    """
    settings = load_settings(config)
    configure_logs(settings.logs.format, settings.logs.level, on_lost=log_lines_lost_total.inc)
    structlog.get_logger().info("worker starts", taken_from_platform=taken_from_platform(config))
    refuse_eviction(store_of(settings))
    asyncio.run(run_worker(settings))
