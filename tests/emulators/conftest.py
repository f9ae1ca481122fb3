"""An emulated MIMC with low limits, for the tests of its API: one for each module of tests."""

from collections.abc import Iterator

import pytest

from tests.emulators.mimc_peer import APP_ID, Emulator, Listener, listening_for_callbacks, serving, settings


@pytest.fixture(scope="module")
def listening() -> Iterator[Listener]:
    with listening_for_callbacks() as listener:
        yield listener


@pytest.fixture(scope="module")
def started(listening: Listener) -> Iterator[Emulator]:
    # more than all tests of a module push, so that none depends on how fast they are
    head = "p2p_per_second = 50\ntopic_per_second = 20\ntopic_members = 6"
    with serving(settings(listening, head)) as emulator:
        yield emulator


@pytest.fixture
def listener(listening: Listener) -> Listener:
    listening.bodies.clear()
    return listening


@pytest.fixture
def mimc(started: Emulator) -> Emulator:
    started.control("DELETE", "faults")
    started.control("PUT", "online", {"app_id": APP_ID, "accounts": []})
    return started
