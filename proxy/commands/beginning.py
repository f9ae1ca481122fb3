"""`app-proxy init`."""

import sys
from pathlib import Path

import click

from proxy.errors import ProxyError
from proxy.local.starter import hidden_from_units, starter_files

_NEXT = """
Next:

{enter}  install -m 600 .env.example .env            # and fill it in
  set -a; . ./.env; set +a
  app-proxy check-config --offline            # what is still missing in config/proxy.toml
  app-proxy run --config config/proxy.toml    # store, web and worker on this machine

Once it is up, in that folder in another terminal:

  set -a; . ./.env; set +a
  (. .state/env; app-proxy doctor --account NAME)      # would MIMC, Apple, Xiaomi and the store work?
  (. .state/env; app-proxy send-test --account NAME)   # once their phone is registered: it rings

In production: `app-proxy web` and `app-proxy worker` with a store that keeps what it is given; the heads of the files
in systemd/ say how systemd starts them."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
def init(folder: Path, force: bool) -> None:
    """Write what an installation begins with into FOLDER (default: this one).

    config/proxy.toml with every key explained, .env.example for the secrets that it takes from the environment, and
    units for systemd that start this very `app-proxy`. Nothing that is there is overwritten without --force; then
    nothing is written at all.
    """
    here, command = folder.absolute(), Path(sys.executable).with_name("app-proxy")
    files = starter_files(here, command)
    there = [name for name in files if (folder / name).exists()]
    if there and not force:
        raise ProxyError(f"{', '.join(there)}: there already, so nothing was written; --force overwrites")
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        click.echo(f"wrote {path}")
    click.echo(_NEXT.format(enter=f"  cd {folder}\n" if folder != Path() else ""))
    for path in hidden_from_units(here, command):
        click.echo(f"note: systemd's units have ProtectHome=yes and would not see {path}: install elsewhere for them")
