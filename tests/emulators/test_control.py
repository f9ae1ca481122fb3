"""What all emulators have in common."""

from flask import Flask

from proxy.emulators.control import Fault, FaultBook, Journal, control_blueprint, parse_fault


def test_a_forgotten_journal_goes_on_counting() -> None:
    journal = Journal()
    app = Flask(__name__)
    app.register_blueprint(control_blueprint(journal, FaultBook(), ()))
    client = app.test_client()
    for word in ("one", "two", "three"):
        journal.write(word=word)
    assert client.delete("/_emulator/journal").json == {"forgotten": 3}
    assert client.get("/_emulator/journal").json == {"entries": [], "last": 3, "counters": {}}
    assert journal.write(word="four") == 4
    for after in (0, 2, 3):
        answer = client.get("/_emulator/journal", query_string={"after": after}).json
        assert answer is not None
        assert [entry["word"] for entry in answer["entries"]] == ["four"]
        assert answer["last"] == 4
    assert client.get("/_emulator/journal", query_string={"after": 4}).json == {
        "entries": [],
        "last": 4,
        "counters": {},
    }


def test_a_journal_can_be_followed_from_now_on_and_through_a_restart_of_the_emulator() -> None:
    def read(journal: Journal, after: int) -> tuple[list[str], int]:
        app = Flask(__name__)
        app.register_blueprint(control_blueprint(journal, FaultBook(), ()))
        answer = app.test_client().get("/_emulator/journal", query_string={"after": after}).get_json()
        return [entry["word"] for entry in answer["entries"]], answer["last"]

    journal = Journal()
    journal.write(word="before")
    assert read(journal, 10**9) == ([], 1)
    journal.write(word="new")
    assert read(journal, 1) == (["new"], 2)
    assert read(journal, 2) == ([], 2)
    started_anew = Journal()
    started_anew.write(word="first")
    assert read(started_anew, 2) == ([], 1)  # below what was asked: read again from 0
    assert read(started_anew, 0) == (["first"], 1)


def test_a_member_that_is_null_is_one_left_out() -> None:
    assert parse_fault({"effect": "delay", "share": None, "times": None}, ["delay"]) == Fault("delay")


def test_a_query_that_is_no_utf8_is_refused() -> None:
    app = Flask(__name__)
    app.register_blueprint(control_blueprint(Journal(), FaultBook(), ()))
    answer = app.test_client().get("/_emulator/journal", environ_overrides={"QUERY_STRING": "after=\xff"})
    assert (answer.status_code, answer.json) == (400, {"error": "query: expected UTF-8"})


def test_json_without_a_bottom_is_refused() -> None:
    app = Flask(__name__)
    app.register_blueprint(control_blueprint(Journal(), FaultBook(), ()))
    assert app.test_client().post("/_emulator/faults", data=b"[" * 100_000).status_code == 400


def test_faults_can_be_put_in_the_place_of_all_others() -> None:
    faults, app = FaultBook(), Flask(__name__)
    app.register_blueprint(control_blueprint(Journal(), faults, ["delay", "reset"]))
    client = app.test_client()
    client.post("/_emulator/faults", json={"effect": "delay"})
    assert (
        client.put("/_emulator/faults", json=[{"effect": "reset"}, {"effect": "delay", "times": 2}]).status_code == 200
    )
    assert faults.in_force() == [Fault("reset"), Fault("delay", times=2)]
    assert client.put("/_emulator/faults", json=[{"effect": "reset"}, {"effect": "unknown"}]).status_code == 400
    assert client.put("/_emulator/faults", json={"effect": "reset"}).status_code == 400
    assert len(faults.in_force()) == 2
    assert client.put("/_emulator/faults", json=[]).json == {"ordered": 0}
    assert faults.in_force() == []


def test_no_more_than_the_newest_of_a_journal_can_be_read() -> None:
    journal, app = Journal(), Flask(__name__)
    app.register_blueprint(control_blueprint(journal, FaultBook(), ()))
    for word in ("one", "two", "three"):
        journal.write(word=word)
    for asked, words in (({"newest": 2}, ["two", "three"]), ({"newest": 2, "after": 2}, ["three"])):
        entries = app.test_client().get("/_emulator/journal", query_string=asked).get_json()["entries"]
        assert [entry["word"] for entry in entries] == words
