"""`app-proxy run`: everything started, three messages sent, and kept up until Ctrl-C."""

import webbrowser
from collections.abc import Callable
from pathlib import Path

from proxy.configuration import load_settings
from proxy.errors import ProxyError
from proxy.files import replace_file
from proxy.local.api_key import new_api_key
from proxy.local.apps import PhoneApps
from proxy.local.phones import Phones, following
from proxy.local.ports import PortTaken, require_free
from proxy.local.processes import (
    StoreAway,
    prepare_demo,
    start_demo,
    start_own,
    wait_until_ready,
)
from proxy.local.scenario import BY_HAND, Scenario, ScenarioFailed, addresses, by_hand
from proxy.local.state import FolderTaken, FolderUnusable
from proxy.local.supervisor import Supervisor
from proxy.store.server.embedded import StoreNotStarted, store_url

Say = Callable[[str], None]
_CANNOT_START = (FolderTaken, FolderUnusable, PortTaken, StoreAway, StoreNotStarted)


def run_demo(state: Path, port: int | None, say: Say, *, stay_up: bool, open_page: bool = False) -> int:
    """The service on emulators. Returns the exit code: 0, 1 where something failed, 2 where it could not start."""
    try:
        with Supervisor(state, say=say) as supervisor:
            if port is not None:
                require_free("127.0.0.1", port, "--port")
            environment = prepare_demo(state, port)
            say("starting store, emulators, web and worker ...")
            start_demo(supervisor, environment)
            replace_file(state / BY_HAND, by_hand(environment).encode())
            say(f"The phones: {environment.phones_page}")
            if open_page and not webbrowser.open(environment.phones_page):
                say("no browser was found: open that address yourself")
            apps = PhoneApps(environment)
            Scenario(environment, apps, new_api_key(environment), say).run()
            if not stay_up:
                say("done: all phones show what they should")
                return 0
            say(addresses(environment))
            with following(Phones(environment, apps), say):
                supervisor.wait()
    except ScenarioFailed as error:
        say(f"FAILED: {error}. The logs are in {state}/logs/")
        return 1
    except ProxyError as error:
        say(f"cannot go on: {error}")
        return 2 if isinstance(error, _CANNOT_START) else 1
    return 0


def run_own(state: Path, config: Path, say: Say) -> int:
    """Store, web and worker with the operator's own configuration; the store is ours unless it names another."""
    settings = load_settings(config)
    # a shell that read .state/env names the embedded one
    own_store = settings.store.url.get_secret_value() == store_url(state / "store")
    embedded = own_store or "url" not in settings.store.model_fields_set
    try:
        with Supervisor(state, say=say) as supervisor:
            say("starting store, web and worker ..." if embedded else "starting web and worker ...")
            start_own(supervisor, state, config, settings, embedded=embedded)
            faults = wait_until_ready(f"http://{settings.server.operator_bind}")
            pages = "/console, /readyz and /metrics" if settings.console.enabled else "/readyz and /metrics"
            say(f"Up at http://{settings.server.bind}; {pages} at http://{settings.server.operator_bind}.")
            for name, fault in faults.items():
                say(f"NOT READY: {name}: {fault}")
            say(f"Commands for it, in another terminal: (. {state}/env; app-proxy doctor)")
            say(f"Logs: {state}/logs/. Ctrl-C stops it all.")
            supervisor.wait()
    except ProxyError as error:
        say(f"cannot go on: {error}")
        return 2 if isinstance(error, _CANNOT_START) else 1
    return 0
