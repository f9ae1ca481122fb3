"""`app-proxy dead-letters`: looked at, chosen, put back and dropped on the command line."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from proxy.cli import cli
from proxy.domain.alerts import AlertText
from proxy.domain.dead_letters import Cause
from proxy.domain.jobs import Job
from proxy.domain.lanes import Callbacks, Lane, Source
from proxy.domain.offline_messages import OfflineMessage, offline_message
from proxy.domain.settlements import Bury, Entry, SettleResult
from proxy.store.connection import Store
from proxy.store.records import load_job, load_offline_message
from proxy.wiring.common import utc_now
from tests.store.samples import DAY, LAYOUT, NOON, SECOND, callback, job, new_of, queue_of, raw, with_redis

WORDS = "the words of ann"


class Operator:
    """Someone with a shell, a configuration and some dead letters."""

    def __init__(self, folder: Path, store: Store, store_url: str, app_id: str) -> None:
        self.store, self.app_id = store, app_id
        self.lane = Lane(app_id, "main", "mipush")
        self._url, self._config = store_url, folder / "proxy.toml"
        self.configure()

    def configure(self, *, with_mipush: bool = True, jobs_cap: int = 1000) -> None:
        mipush = '[apps.main.mipush]\napp_secret = "secret"\npackage = "com.example"\n' if with_mipush else ""
        self._config.write_text(
            f'[auth.jwt.own]\nsecret = "{"0123456789" * 5}"\n[store]\nurl = "{self._url}"\njobs_cap = {jobs_cap}\n'
            f'[apps.main]\napp_id = {self.app_id}\napp_key = "k"\napp_secret = "s"\n'
            f'url_secret = "0123456789abcdef"\n{mipush}'
        )

    def run(self, *arguments: str, typed: str = "") -> Result:
        command = ["dead-letters", *arguments, "--config", str(self._config)]
        result = CliRunner().invoke(cli, command, input=typed)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert WORDS not in result.output
        return result

    def told(self, *arguments: str) -> list[dict[str, Any]]:
        """The lines of a command that went well."""
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    def ids(self) -> list[str]:
        """The oldest first."""
        return [it["id"] for it in self.told("list")][::-1]

    def words_of(self, letter_id: str) -> str:
        return LAYOUT.dead_words(self.app_id, letter_id.removesuffix(".0"), 0)

    def bury(self, of: Job | OfflineMessage | bytes, cause: Cause = Cause.REJECTED, reason: str = "TooLarge") -> str:
        """Make a dead letter of it, as a worker does; returns its id."""
        source: Source = self.lane if isinstance(of, Job) else Callbacks(self.app_id)

        async def scenario(redis: Any) -> None:
            queue = queue_of(redis)
            await queue.ensure_groups(source)
            await redis.xadd(queue.streams(source)[0], {"r": of if isinstance(of, bytes) else b"{}"})
            (entry,) = await new_of(queue, source)
            letter = Bury(entry.id, cause, reason, Entry(entry.id, of) if isinstance(of, bytes) else of)
            settle = partial(queue.settle_jobs, self.lane) if isinstance(of, Job) else None
            assert (
                await (settle([letter]) if settle else queue.settle_callbacks(self.app_id, [letter], NOON))
                == SettleResult()
            )

        with_redis(self._url, scenario)
        return self.ids()[-1]

    def waiting(self) -> list[Job]:
        """The jobs of the lane."""
        return [load_job(fields[b"r"]) for _, fields in raw(self.store, "XRANGE", LAYOUT.jobs(self.lane, 0), "-", "+")]


@pytest.fixture
def operator(tmp_path: Path, store: Store, store_url: str, app_id: str) -> Operator:
    return Operator(tmp_path, store, store_url, app_id)


def to(account: str) -> Job:
    """An alert for this account, from now on."""
    one = job(Lane("any", "main", "mipush"), account, "")
    return replace(one, alert=replace(one.alert, expires_at=utc_now() + DAY))


def message(app_id: str) -> OfflineMessage:
    return offline_message(callback(app_id), utc_now())


def test_the_newest_are_listed_first_a_line_each(operator: Operator) -> None:
    for account in ("ben", "cai"):
        operator.bury(to(account))
    operator.bury(message(operator.app_id), Cause.POISON, "poison callback")
    operator.bury(b"{?", Cause.UNREADABLE, "unreadable callback")
    lines = operator.told("list")
    assert [(it["kind"], it["cause"], it["account"]) for it in lines] == [
        ("record", "unreadable", ""), ("callback", "poison", ""),
        ("job", "rejected", "cai"), ("job", "rejected", "ben"),
    ]  # fmt: skip
    assert {it["app_id"] for it in lines} == {operator.app_id}
    assert lines[2]["job_id"] == to("cai").id
    assert lines[2]["message_id"] == "m1"
    assert [it["account"] for it in operator.told("list", "--count", "3")][-1] == "cai"


@pytest.mark.parametrize(
    ("options", "accounts"),
    [
        (["--cause", "expired"], ["dan"]),
        (["--channel", "apns"], []),
        (["--app", "main", "--cause", "rejected"], ["cai", "ben"]),
        (["--newer-than", "1h"], ["dan", "cai", "ben"]),
        (["--older-than", "1h"], []),
    ],
)
def test_letters_are_chosen(operator: Operator, options: list[str], accounts: list[str]) -> None:
    operator.bury(to("ben"))
    operator.bury(to("cai"))
    operator.bury(to("dan"), Cause.EXPIRED, "too late: busy")
    assert [it["account"] for it in operator.told("list", *options)] == accounts


@pytest.mark.parametrize(
    "wrong",
    [["--app", "other"], ["--cause", "bad luck"], ["--channel", "fax"], ["--older-than", "1"], ["--newer-than", "1y"]],
)
def test_a_choice_that_nothing_can_be_is_refused(operator: Operator, wrong: list[str]) -> None:
    assert operator.run("list", *wrong).exit_code == 2


def test_show_tells_all_that_is_known_of_a_job_with_what_was_tried(operator: Operator) -> None:
    one = replace(to("ben"), attempt=2).tried(NOON, "busy").tried(NOON + SECOND, "http 503")
    shown = operator.run("show", operator.bury(one))
    assert shown.stdout.startswith("{\n  ")
    page = json.loads(shown.stdout)
    assert (page["cause"], page["reason"], page["words_until"] is None) == ("rejected", "TooLarge", False)
    assert page["job"]["id"] == one.id
    assert (page["job"]["account"], page["job"]["attempt"], page["job"]["conversation"]) == ("ben", 2, "p2p:ann")
    assert [(it["at"], it["reason"]) for it in page["history"]] == [
        ("2026-11-23T12:00:00.000+00:00", "busy"), ("2026-11-23T12:00:01.000+00:00", "http 503"),
    ]  # fmt: skip


def test_show_tells_who_was_to_hear_of_a_callback_and_only_the_size_of_what_is_unreadable(operator: Operator) -> None:
    of_callback = json.loads(operator.run("show", operator.bury(message(operator.app_id), Cause.POISON)).stdout)
    assert of_callback["callback"]["sender"] == "ann"
    assert of_callback["callback"]["recipients"] == [{"account": "ben"}]
    assert "payload" not in of_callback["callback"]
    record = json.loads(operator.run("show", operator.bury(b"?" * 20, Cause.UNREADABLE)).stdout)
    assert record["record"] == {"from": "callbacks", "bytes": 20}


def test_a_name_that_cannot_be_printed_is_told_as_well_as_it_goes(operator: Operator) -> None:
    operator.bury(to("half \ud800"))
    assert operator.told("list")[0]["account"] == "half \ud800"


@pytest.mark.parametrize("command", ["show", "replay", "drop"])
@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        (["1-1"], 1, "error: there is no dead letter 1-1\n"),
        (["the words"], 1, "error: there is no dead letter of that form\n"),
        ([], 2, "Name dead letters by their ids, choose them by an option, or say --all."),
    ],
)
def test_an_unknown_letter_is_told_and_nothing_is_done(
    operator: Operator, command: str, given: list[str], code: int, told: str
) -> None:
    known = operator.bury(to("ben"))
    result = operator.run(command, *([known, *given] if given else []))
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr
    assert operator.ids() == [known]


def test_an_id_that_is_not_of_the_choice_is_unknown_too(operator: Operator) -> None:
    result = operator.run("drop", operator.bury(to("ben")), "--cause", "poison")
    assert (result.exit_code, result.stderr[-16:]) == (1, " in that choice\n")


def test_a_replayed_job_is_in_its_lane_once_with_its_words_and_a_new_life(operator: Operator) -> None:
    one = replace(to("ben"), attempt=9)
    late = replace(one, alert=replace(one.alert, expires_at=NOON - DAY))
    id_ = operator.bury(late, Cause.EXPIRED, "too late: busy")
    (line,) = operator.told("replay", id_, "--life", "2h")
    (back,) = operator.waiting()
    assert (back.id, back.alert.text, back.attempt) == (one.id, AlertText("ann", WORDS), 0)
    assert [it.reason for it in back.history] == ["too late: busy", "replayed"]
    assert utc_now() + 7000 * SECOND < back.alert.expires_at <= utc_now() + 7200 * SECOND
    assert line == {
        "id": id_, "app_id": operator.app_id, "kind": "job", "result": "replayed", "job_id": one.id,
        "expires_at": back.alert.expires_at.isoformat(timespec="milliseconds"),
    }  # fmt: skip
    assert operator.run("replay", id_).exit_code == 1
    assert len(operator.waiting()) == 1


def test_a_replayed_callback_is_before_the_plan_again(operator: Operator) -> None:
    one = message(operator.app_id)
    (line,) = operator.told("replay", operator.bury(one, Cause.POISON))
    assert (line["kind"], line["result"]) == ("callback", "replayed")
    ((_, fields),) = raw(operator.store, "XRANGE", LAYOUT.callbacks(operator.app_id, 0), "-", "+")
    back = load_offline_message(fields[b"r"])
    assert (back.message_id, back.payload) == (one.message_id, WORDS.encode())


def test_a_dry_run_says_what_would_be_done_and_does_nothing(operator: Operator) -> None:
    ids = [operator.bury(to("ben")), operator.bury(to("cai"))]
    replayed = operator.told("replay", "--all", "--dry-run")
    assert [(it["id"], it["result"]) for it in replayed] == [(id_, "would replay") for id_ in ids]
    assert [it["result"] for it in operator.told("drop", *ids, "--dry-run")] == ["would drop"] * 2
    assert operator.ids() == ids
    assert operator.waiting() == []


@pytest.mark.parametrize("command", ["replay", "drop"])
def test_many_are_asked_about_and_one_is_not(operator: Operator, command: str) -> None:
    ids = [operator.bury(to(account)) for account in ("ben", "cai", "dan")]
    for typed in ("", "n\n"):
        refused = operator.run(command, "--all", typed=typed)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "3 dead letters are to be" in refused.stderr
    assert operator.ids() == ids
    assert operator.run(command, ids[0]).exit_code == 0
    assert operator.run(command, *ids[1:], typed="y\n").exit_code == 0
    assert operator.ids() == []


def test_the_oldest_go_first_and_no_more_than_the_limit(operator: Operator) -> None:
    for account in ("ben", "cai", "dan"):
        operator.bury(to(account))
    operator.told("replay", "--all", "--limit", "2", "--yes")
    assert [it.account for it in operator.waiting()] == ["ben", "cai"]
    assert operator.told("replay", "--all", "--rate", "10000")[0]["result"] == "replayed"
    assert operator.told("replay", "--all") == []


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda it: it.configure(with_mipush=False), "the settings have no lane main/mipush"),
        (lambda it: it.configure(jobs_cap=1), "the lane is full"),
        (
            lambda it: raw(it.store, "DEL", it.words_of(it.ids()[0])),
            "its words are gone",
        ),
    ],
)
def test_what_cannot_be_replayed_is_said_and_counted_and_stays(
    operator: Operator, spoil: Callable[[Operator], None], reason: str
) -> None:
    raw(operator.store, "ZADD", LAYOUT.retries(operator.lane, 0), 1, "a retry")
    id_ = operator.bury(to("ben"))
    spoil(operator)
    result = operator.run("replay", id_)
    assert (result.exit_code, result.stderr) == (1, "refused: 1\n")
    line = json.loads(result.stdout)
    assert line["result"] == "refused"
    assert line["reason"].startswith(reason)
    assert operator.ids() == [id_]
    assert operator.waiting() == []


def test_without_its_words_a_job_shows_that_there_is_a_message_if_the_operator_wants_it_so(operator: Operator) -> None:
    id_ = operator.bury(to("ben"))
    raw(operator.store, "DEL", operator.words_of(id_))
    assert json.loads(operator.run("show", id_).stdout)["words_until"] is None
    operator.told("replay", id_, "--without-words")
    assert [it.alert.text for it in operator.waiting()] == [AlertText("ann", "", "new")]


def test_letters_of_an_earlier_version_are_listed_shown_refused_and_dropped(operator: Operator) -> None:
    raw(operator.store, "XADD", LAYOUT.dead_letters(operator.app_id, 0), "*", "reason", "poison callback", "r", "{}")
    ((line,), (id_,)) = operator.told("list"), operator.ids()
    assert (line["kind"], line["cause"], line["reason"]) == ("record", "unknown", "poison callback")
    assert json.loads(operator.run("show", id_).stdout)["record"] is None
    refused = operator.run("replay", id_)
    assert (refused.exit_code, json.loads(refused.stdout)["reason"]) == (
        1, "an earlier version kept nothing of it but the reason",
    )  # fmt: skip
    assert operator.told("drop", id_)[0]["result"] == "dropped"
    assert operator.ids() == []


def test_a_dropped_letter_leaves_no_words(operator: Operator) -> None:
    id_ = operator.bury(to("ben"))
    operator.told("drop", id_)
    assert raw(operator.store, "EXISTS", operator.words_of(id_)) == 0


def test_what_a_terminal_would_obey_is_printed_as_an_escape(operator: Operator) -> None:
    account = "张三\u009b31m\u0085\u202e"
    letter_id = operator.bury(job(operator.lane, account, ""), reason="odd\x1b[2J")
    for arguments in (("list",), ("show", letter_id), ("replay", letter_id, "--dry-run")):
        shown = operator.run(*arguments).stdout
        assert shown.replace("\n", "").isprintable()
        assert json.loads(shown)["id"] == letter_id
    assert operator.told("list")[0]["account"] == account
