"""Everything around the service that may go wrong, by a plan drawn from the seed: each track in a thread of its own."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from tests.chaos.devices import Devices
from tests.chaos.dice import EMPTY_STORE, Trouble
from tests.chaos.fleet import Fleet
from tests.chaos.providers import Provider
from tests.chaos.pushes import PROVIDERS
from tests.chaos.runlog import RunLog
from tests.system.rig import Rig


class Environment:
    """Carries out the plan. `end` waits for it, then everything runs and no fault is in force.

    On a slow machine processes take long to start, and the plan falls behind: what would begin after `most_s` is left
    out, for then no more messages are written.
    """

    def __init__(self, rig: Rig, log: RunLog, fleet: Fleet, devices: Devices, most_s: float, slow_s: float) -> None:
        self._most_s = most_s
        self.left_out = 0
        self._rig, self._fleet, self._devices = rig, fleet, devices
        self._strikes: Mapping[str, Callable[[Trouble], None]] = {
            "processes": fleet.strike,
            "store": fleet.strike,
            **{name: Provider(name, rig, log, slow_s).strike for name in PROVIDERS},
            "devices": self._strike_devices,
        }
        self._threads: list[threading.Thread] = []
        self._failed: list[BaseException] = []

    def begin(self, plan: Mapping[str, Sequence[Trouble]]) -> None:
        began = time.monotonic()
        for track, troubles in plan.items():
            thread = threading.Thread(target=self._play, args=(track, troubles, began), name=track, daemon=True)
            self._threads.append(thread)
            thread.start()

    def end(self, deadline: float) -> None:
        """Raises what a track raised, AssertionError where one has not ended at `deadline`, a monotonic time."""
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        if self._failed:
            raise self._failed[0]
        assert not any(thread.is_alive() for thread in self._threads), "the faults took longer than the whole run may"
        for emulator in PROVIDERS:
            self._rig.end_faults(emulator)
        self._fleet.end()

    def _strike_devices(self, trouble: Trouble) -> None:
        if trouble.kind == EMPTY_STORE:
            self._fleet.strike(trouble)
            self._devices.register_again()
        else:
            self._devices.strike(trouble)

    def _play(self, track: str, troubles: Sequence[Trouble], began: float) -> None:
        try:
            for trouble in troubles:
                time.sleep(max(began + trouble.begins_s - time.monotonic(), 0))
                if self._failed:
                    return
                if time.monotonic() - began > self._most_s:
                    self.left_out += 1
                else:
                    self._strikes[track](trouble)
        except BaseException as error:  # noqa: BLE001  raised again by end()
            self._failed.append(error)
