"""`app-proxy worker`."""

import asyncio
from pathlib import Path

import click
import structlog

from proxy.commands import config_option, store_of
from proxy.configuration import load_settings, taken_from_platform
from proxy.logs import configure_logs
from proxy.metrics import count_lost_lines
from proxy.store.server.policy import refuse_unfit
from proxy.wiring.worker import run_worker


@click.command()
@config_option
def worker(config: Path | None) -> None:
    """Plan and deliver until SIGTERM; then finish what is in flight and leave the rest to the others.

    Any number of workers may run, on any number of machines: they share nothing but the store. Two on one machine need
    two values of relay.operator_bind (APP_PROXY_RELAY__OPERATOR_BIND=127.0.0.1:9466), where each serves its metrics.
    """
    settings = load_settings(config)
    configure_logs(settings.logs.format, settings.logs.level, on_lost=count_lost_lines)
    structlog.get_logger().info("worker starts", taken_from_platform=taken_from_platform(config))
    refuse_unfit(store_of(settings))
    asyncio.run(run_worker(settings))
