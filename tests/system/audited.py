"""A rig whose outside world keeps a run log, so that the auditor can judge what came of it.

with AuditedRig(folder) as rig:
    rig.start_web(); worker = rig.start_worker()
    rig.phone("alice")
    rig.send(["alice"])
    rig.kill_worker(worker)
    rig.start_worker()
    verdict = rig.verdict()
"""

import base64
import json
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from proxy.channels import APNS
from proxy.domain.lanes import Lane
from proxy.store import keys
from tests import stored
from tests.chaos.auditor import audit
from tests.chaos.faults import Times
from tests.chaos.runlog import RunLog, now_ms, read_run_log
from tests.chaos.sockets import ports_of
from tests.chaos.verdict import Verdict
from tests.system.rig import MAIN, OTHER, ROOT, SECTION, SHORT_TIMES, Process, Rig, offline_topic, push_token

TOPIC_ID = "21351198708203520"


@dataclass(frozen=True)
class SentMessage:
    """A message, with its word and the body that announces it. `number` is in the app's own id of it."""

    word: str
    app_id: str
    number: int
    body: Mapping[str, Any]


class AuditedRig(Rig):
    """`build` is the folder whose program web and workers run; the emulators, `providers`, are always our own."""

    def __init__(
        self,
        folder: Path,
        *,
        build: Path = ROOT,
        relay: Mapping[str, Any] | None = None,
        alerts: Mapping[str, Any] | None = None,
        apns: Mapping[str, Any] | None = None,
        providers: Sequence[str] = ("apns",),
    ) -> None:
        without = [name for name in ("mimc", "apns", "mipush") if name not in providers]
        super().__init__(
            folder, relay=relay, alerts=alerts, apns=apns, mipush={"unknown_targets": "accept"}, without=without
        )
        self._providers = providers
        self._build = build
        times = {**SHORT_TIMES, **(relay or {})}
        self._times = Times(
            times["push_timeout_s"], times["lease_s"], times["probe_s"], (alerts or {}).get("fold_s", 0.0)
        )
        self._run_log = folder / "run.jsonl"
        self._posts = 0

    def __enter__(self) -> Self:
        super().__enter__()
        self.log = RunLog(self._run_log)
        self.log.write("run", seed=0, started_at_ms=time.time_ns() // 1_000_000)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.log.close()
        super().__exit__(kind, error, trace)

    def start_web(self, workers: int = 1, *, program: Path | str | None = None, **variables: str) -> Process:
        return super().start_web(workers, program=program or self._build, **variables)

    def start_workers(self, count: int, *, program: Path | str | None = None, **variables: str) -> list[Process]:
        started = super().start_workers(count, program=program or self._build, **variables)
        for worker in started:
            self.log.write("worker", pid=worker.popen.pid)
        return started

    def phone(self, account: str, *, device: str = "phone", token: str | None = None) -> str:
        """An APNs phone of the section `other`; returns its push token."""
        token, asked_ms = token or push_token(), now_ms()
        assert self.register(account, device, token, app_id=OTHER).status_code == 200
        self._registered(asked_ms, OTHER, account, device, "apns", token)
        return token

    def android(self, account: str) -> None:
        """Mi Push knows the account; its phone is reached under it in the section `main`."""
        self._registered(now_ms(), MAIN, account, "", "mipush", account)

    def write(self, readers: Sequence[str], number: int, *, app_id: str = OTHER) -> SentMessage:
        """A message of the one group, by Zoe; MIMC has not announced it yet."""
        word = self.secret_word("message text", f"w{secrets.token_hex(8)}")
        body = offline_topic("zoe", readers, f"say {word} now", number, topic_id=TOPIC_ID, app_id=app_id)
        self.log.write(
            "message", word=word, app_id=app_id, app=SECTION[app_id], sender="zoe", conversation=f"topic:{TOPIC_ID}",
            topic_id=TOPIC_ID, sequence=number, sent_at_ms=int(body["timestamp"]),
        )  # fmt: skip
        return SentMessage(word, app_id, number, body)

    def announce(
        self, message: SentMessage, readers: Sequence[str] | None = None, kind: str = "OFFLINE_TOPIC_MSG"
    ) -> None:
        """MIMC posts it, for those who were named before or for others, and is answered 200."""
        body = {**message.body, "msgType": kind, "toAccounts": list(readers or message.body["toAccounts"])}
        self._posts += 1
        asked_ms = now_ms()
        answer = self.post(body, message.app_id)
        data = answer.json()["data"] or {}
        self.log.write(
            "posted", callback=self._posts, word=message.word, kind=kind, recipients=body["toAccounts"], form="new",
            attempt=1, asked_ms=asked_ms, status=answer.status_code, duplicate=data.get("duplicate"),
        )  # fmt: skip
        assert answer.status_code == 200

    def notice(self, why: str, message: SentMessage, by: str) -> None:
        """`by` reads it, or recalls it, as an instant callback says to the group."""
        self._posts += 1
        type_, about = f"TEXT_{why.upper()}", f"TEXT_{message.number}"
        inner = {"msgId": f"{type_}_{self._posts}", "msgType": type_, "payload": about}
        payload = base64.b64encode(json.dumps(inner).encode()).decode()
        members = [*message.body["toAccounts"], "zoe"]
        body = offline_topic(by, members, "", 1000 + self._posts, topic_id=TOPIC_ID, app_id=message.app_id)
        body |= {"msgType": "NORMAL_TOPIC_MSG", "payload": payload}
        asked_ms = now_ms()
        status = self.post(body, message.app_id).status_code
        self.log.write(
            "notice", why=why, by=by, callback=self._posts, word=message.word, kind="NORMAL_TOPIC_MSG",
            recipients=members, form="new", attempt=1, asked_ms=asked_ms, status=status, duplicate=False,
        )  # fmt: skip
        assert status == 200

    def send(self, readers: Sequence[str], number: int = 1, *, app_id: str = OTHER) -> SentMessage:
        message = self.write(readers, number, app_id=app_id)
        self.announce(message)
        return message

    @contextmanager
    def happens(self, kind: str, process: Process) -> Iterator[None]:
        """What is done in the block to the process is a fault of that kind."""
        ports: dict[str, Any] = {"ports": ports_of(process.popen.pid)} if process.name == "worker" else {}
        begin_ms = now_ms()
        yield
        self.log.write(
            "fault", kind=kind, target=process.name, pid=process.popen.pid, begin_ms=begin_ms, end_ms=now_ms(), **ports
        )

    def kill_store(self, *, empty: bool = False) -> None:
        """And start it again: with what it had synced, or with nothing."""
        with self.happens("empty_store" if empty else "kill_store", self.store):
            self.store.kill()
            if empty:
                shutil.rmtree(self.folder / "store")
            self.store = self.start_store()

    def all_in_hand(self) -> bool:
        """All alerts of the section `other` are planned, and a worker has read every job."""
        with self.redis() as redis:
            waiting = stored.length(redis, stored.callbacks(redis, OTHER))
            in_lane = stored.length(redis, stored.jobs(redis, Lane(OTHER, SECTION[OTHER], APNS)))
        return not waiting and in_lane == self.pending(OTHER)["pending"]

    def wait_for_renewal(self) -> None:
        """Until the workers that hold jobs of the section `other` have just renewed their leases."""
        idle_ms = 0

        def is_renewed() -> bool:
            nonlocal idle_ms
            before = idle_ms
            with self.redis() as redis:
                streams = stored.jobs(redis, Lane(OTHER, SECTION[OTHER], APNS))
                claimed = [one for it in streams for one in redis.xpending_range(it, keys.GROUP, "-", "+", 1)]
                idle_ms = int(claimed[0]["time_since_delivered"])
            return idle_ms < before

        self.wait(is_renewed, "a heartbeat")

    def streams_open(self) -> int:
        """How many pushes the emulated APNs has taken on and not answered."""
        connections = self.http.get(f"{self.control('apns')}/connections", timeout=5).json()["connections"]
        return sum(connection["streams_open"] for connection in connections)

    def kill_worker(self, worker: Process) -> None:
        with self.happens("kill_worker", worker):
            worker.kill()

    def verdict(self) -> Verdict:
        """Of all that has happened up to now."""
        self.log.write("end", backlog=self.backlog(MAIN) + self.backlog(OTHER))
        journals = {name: self.journal(name) for name in self._providers}
        phones = {name: self.phones(name) for name in self._providers}
        return audit(read_run_log(self._run_log), journals, self._times, phones=phones)

    def _registered(self, asked_ms: int, app_id: str, account: str, device: str, platform: str, token: str) -> None:
        self.log.write(
            "registered", asked_ms=asked_ms, app=SECTION[app_id], account=account, device=device, platform=platform,
            push_token=token,
        )  # fmt: skip
