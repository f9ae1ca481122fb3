"""What several of these tests need."""

import pytest


@pytest.fixture(scope="session")
def apns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A section with Apple's keys."""
    key = tmp_path_factory.mktemp("key") / "key.p8"
    key.write_text("-----BEGIN PRIVATE KEY-----\n")
    return {"team_id": "TEAM000001", "key_id": "KEY0000001", "key_file": str(key), "topic": "com.example.chat"}
