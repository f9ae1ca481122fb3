"""The server of the emulators."""

import pytest

from proxy.emulators.server import is_known_host


@pytest.mark.parametrize(
    ("shown", "known"),
    [
        (None, True), ("127.0.0.1:8080", True), ("10.0.0.7", True), ("[::1]:8080", True), ("localhost:1", True),
        ("mimc.internal:80", True), ("rebound.example.com", False), ("rebound.example.com:8080", False),
        ("127.0.0.1.example.com", False), ("localhost.example.com", False), ("", False),
    ],
)  # fmt: skip
def test_a_page_whose_name_was_made_to_point_here_reads_nothing(shown: str | None, known: bool) -> None:
    assert is_known_host(shown, {"mimc.internal"}) is known
