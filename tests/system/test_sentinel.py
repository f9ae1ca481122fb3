"""The main job on a store with replicas, whose master dies, is replaced or is cut off while messages come."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.replicated_rig import ReplicatedRig
from tests.system.rig import offline, push_token
from tests.system.steady import Mimc

READERS = [f"reader-{number}" for number in range(8)]


@pytest.fixture
def rig(place: Path) -> Iterator[ReplicatedRig]:
    with ReplicatedRig(place, replicas=1) as it:
        yield it


def test_a_message_becomes_a_push_before_and_after_the_master_died(rig: ReplicatedRig) -> None:
    rig.start_web()
    rig.start_workers(1)
    assert rig.register("alice", "phone", push_token()).status_code == 200
    assert rig.post(offline("bob", "alice", "before", 1)).status_code == 200
    rig.wait(lambda: len(rig.accepted()) == 1, "the first push")
    rig.servers.kill(rig.servers.master())
    rig.wait(lambda: rig.post(offline("bob", "alice", "after", 2)).status_code == 200, "a 200")
    rig.wait(lambda: len(rig.accepted()) == 2, "the second push")


@pytest.mark.trial
def test_nothing_is_lost_and_nothing_shown_twice_when_the_master_dies_is_replaced_or_cut_off(
    rig: ReplicatedRig,
) -> None:
    rig.start_web()
    rig.start_workers(2)
    tokens = {account: push_token() for account in READERS}
    for account, token in tokens.items():
        assert rig.register(account, "phone", token).status_code == 200
    rig.wait(lambda: rig.redis().wait(2, 1000) == 2, "the registrations at the replicas")
    with Mimc(rig, READERS) as mimc:
        mimc.wait_for(100)
        died = rig.servers.master()
        rig.servers.kill(died)
        mimc.wait_for(200)
        rig.servers.start_server(died)
        rig.wait(lambda: rig.servers.replicas_of(rig.servers.master()) == 2, "the one that died as a replica", 40)
        rig.servers.failover(coordinated=True)
        mimc.wait_for(200)
        rig.wait(lambda: rig.servers.replicas_of(rig.servers.master()) == 2, "the one that was replaced", 40)
        with rig.servers.halted(rig.servers.master()):  # like a machine that was cut off
            mimc.wait_for(200)
        mimc.wait_for(200)
    rig.settled()
    assert mimc.fates() == ([], [])
    told = rig.readiness()
    assert "replicas" not in told
    assert all(told[name].startswith("unknown") for name in ("persistence", "eviction"))
