"""What all emulators have in common."""

from flask import Flask

from proxy.emulators.control import FaultBook, Journal, control_blueprint


def test_a_forgotten_journal_goes_on_counting() -> None:
    journal = Journal()
    app = Flask(__name__)
    app.register_blueprint(control_blueprint(journal, FaultBook(), ()))
    client = app.test_client()
    for word in ("one", "two", "three"):
        journal.write(word=word)
    assert client.delete("/_emulator/journal").json == {"forgotten": 3}
    assert client.get("/_emulator/journal").json == {"entries": [], "last": 0, "counters": {}}
    assert journal.write(word="four") == 4
    for after in (0, 2, 3):
        told = client.get("/_emulator/journal", query_string={"after": after}).json
        assert told is not None
        assert [it["word"] for it in told["entries"]] == ["four"]
        assert told["last"] == 4
    assert client.get("/_emulator/journal", query_string={"after": 4}).json == {
        "entries": [],
        "last": 4,
        "counters": {},
    }
