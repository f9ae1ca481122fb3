"""`app-proxy run`."""

import os
from pathlib import Path

import click

from proxy.local.run import run_demo, run_own
from proxy.package_data import LOCAL_CONFIG


@click.command()
@click.option("--demo", is_flag=True, help="Stop after the messages have arrived.")
@click.option("--config", type=click.Path(path_type=Path), help="Your configuration, instead of the emulators.")
@click.option(
    "--state", type=click.Path(path_type=Path), default=Path(".state"), show_default=True, help="Store, logs, records."
)
@click.option("--port", type=click.IntRange(1, 65535), help="The web's port. Default: 8080, or a free one.")
@click.option("--open", "open_page", is_flag=True, help="Open the page of the phones in your browser.")
@click.pass_context
def run(ctx: click.Context, demo: bool, config: Path | None, state: Path, port: int | None, open_page: bool) -> None:
    """Run everything on this machine: store, emulators, web, worker; send three messages; stay up and show alerts.

    It needs no account anywhere. With --config (or $APP_PROXY_CONFIG) it serves your own app instead: no emulators, no
    messages. REDIS_URL names a store to use in place of the embedded one.

    Exit codes: 0 fine, 1 a step failed, 2 it could not start (a second copy, a taken port).
    """
    config = config or (Path(os.environ["APP_PROXY_CONFIG"]) if os.environ.get("APP_PROXY_CONFIG") else None)
    if config is None or config.resolve() == LOCAL_CONFIG.resolve():  # a shell that read .state/env names this one
        ctx.exit(run_demo(state, port, click.echo, stay_up=not demo, open_page=open_page))
    if demo:
        raise click.UsageError(f"the demo runs on emulators, not with {config}: leave out --demo, or APP_PROXY_CONFIG")
    ctx.exit(run_own(state, config, click.echo))
