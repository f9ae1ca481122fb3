"""The command `app-proxy`. Commands are thin: read the settings, call what does the work, print what came of it.

Exit codes: 0 done, 1 it did not work, 2 the settings or the command line are wrong.
"""

import click

from proxy.commands import LazyCommands

_FOUND_IN = {
    "run": "proxy.commands.running:run",
    "init": "proxy.commands.beginning:init",
    "web": "proxy.commands.serving:web",
    "worker": "proxy.commands.worker:worker",
    "check-config": "proxy.commands.checking:check_config",
    "doctor": "proxy.commands.checking:doctor",
    "send-test": "proxy.commands.trial:send_test",
    "live-check": "proxy.commands.live:live_check",
    "explain": "proxy.commands.why:explain",
    "explain-payload": "proxy.commands.explaining:explain",
    "token": "proxy.commands.signing:token",
    "emulate": "proxy.commands.emulating:emulate",
    "devices": "proxy.commands.devices:devices",
    "lanes": "proxy.commands.lanes:lanes",
    "dead-letters": "proxy.commands.dead_letters:dead_letters",
    "accounts": "proxy.commands.users:accounts",
    "users": "proxy.commands.users:users",
    "operators": "proxy.commands.operators:operators",
    "keys": "proxy.commands.keys:keys",
    "store": "proxy.commands.store:store",
}


@click.group(
    cls=LazyCommands,
    found_in=_FOUND_IN,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="mimc-app-proxy", prog_name="app-proxy")
def cli() -> None:
    """AppProxyService and offline push for chat apps on Xiaomi MIMC.

    The settings are config/proxy.toml, which explains every key; variables like APP_PROXY_STORE__URL override it.

    \b
    To see it work, without any account:
      app-proxy run --demo                   store, emulators, web and worker here; three messages

    \b
    To begin with an app of yours:
      app-proxy init                         config/proxy.toml, .env.example, units for systemd
      app-proxy check-config --offline       what is still to be filled in
      app-proxy check-config                 would MIMC, Apple, Xiaomi and the store work?
      app-proxy doctor                       that, clocks, keys, certificates; and what to do
      app-proxy send-test --account alice    her phones ring, and what happened
      TOKEN=$(app-proxy token --account alice)
      curl -X POST -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/api/account/token

    Every command explains itself: app-proxy COMMAND --help.
    """


def main() -> None:
    cli()
