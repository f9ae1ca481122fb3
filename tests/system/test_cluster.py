"""The main job on a cluster whose masters die, are replaced or hang, and whose slots move, while messages come."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import stored
from tests.system.clustered_rig import ClusteredRig
from tests.system.rig import MAIN, offline, push_token
from tests.system.steady import Mimc

READERS = [f"reader-{number}" for number in range(8)]


@pytest.fixture
def rig(place: Path) -> Iterator[ClusteredRig]:
    with ClusteredRig(place, replicas=1, relay={"lease_s": 8.0}) as it:  # an eighth of it is how long a read waits
        yield it


def registered(rig: ClusteredRig) -> None:
    for account in READERS:
        assert rig.register(account, "phone", push_token()).status_code == 200


def test_a_message_becomes_a_push_before_and_after_a_master_died(rig: ClusteredRig) -> None:
    rig.start_web()
    worker = rig.start_worker()
    registered(rig)
    assert rig.post(offline("bob", READERS[0], "before", 1)).status_code == 200
    rig.wait(lambda: len(rig.accepted()) == 1, "the first push")
    rig.servers.wait(rig.servers.is_well, "the replicas")
    died = rig.servers.owner(rig.key)
    rig.servers.kill(died)
    rig.servers.wait(lambda: died not in rig.servers.masters(), "another master")
    rig.servers.start_server(died)  # without a replica a master takes no callback here
    rig.wait(lambda: rig.post(offline("bob", READERS[0], "after", 2)).status_code == 200, "a 200")
    rig.wait(lambda: len(rig.accepted()) == 2, "the second push")
    worker.signal(signal.SIGTERM)  # each shard's read waits still, and the first to end is not all
    for number in range(3, 15):
        assert rig.post(offline("bob", READERS[1], f"at the end {number}", number)).status_code == 200
    assert worker.stop() == 0
    with rig.redis() as redis:
        assert stored.pending(redis, stored.callbacks(redis, MAIN))["pending"] == 0


@pytest.mark.trial
def test_nothing_is_lost_and_nothing_shown_twice_whatever_becomes_of_masters_and_slots(rig: ClusteredRig) -> None:
    rig.start_web()
    rig.start_workers(2)
    registered(rig)
    servers = rig.servers
    servers.wait(servers.is_well, "the replicas")
    with Mimc(rig, READERS) as mimc:
        mimc.wait_for(100)
        died = servers.owner(rig.key)
        servers.kill(died)
        servers.wait(lambda: servers.owner(rig.key) != died, "another master")
        servers.start_server(died)  # without a replica a master takes no callback here
        servers.wait(servers.is_well, "the one that died as a replica")
        mimc.wait_for(200)
        servers.failover(servers.owner(rig.key))
        mimc.wait_for(200)
        for _ in range(3):
            before = servers.owner(rig.key)
            servers.migrate(rig.key, next(port for port in servers.masters() if port != before))
            mimc.wait_for(100)
        hung = servers.owner(rig.key)
        with servers.halted(hung):
            servers.wait(lambda: servers.owner(rig.key) != hung, "another master")
        servers.wait(servers.is_well, "the one that hung as a replica")
        mimc.wait_for(200)
    rig.settled()
    assert mimc.fates() == ([], [])
    told = rig.readiness()
    assert all(told[name].startswith("unknown") for name in ("persistence", "eviction"))
