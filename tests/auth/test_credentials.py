"""What every backend shares: credentials, what an account is, and the order of asking."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth import Authenticated, Authenticator, Credentials, Refused, Unavailable, account_of

ALICE = Authenticated("alice", None, "fixed")


@dataclass(frozen=True)
class Fixed:
    """A backend with one answer for everybody."""

    answer: Authenticated | Refused | Unavailable | None

    def authenticate(self, credentials: Credentials) -> Authenticated | Refused | Unavailable | None:  # noqa: ARG002
        return self.answer


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("1000", "1000"),
        ("\u5f20\u4e09", "\u5f20\u4e09"),
        ("a,b", "a,b"),
        (" spaced ", " spaced "),
        ("e\u0301", "\u00e9"),
        ("a" * 256, "a" * 256),
        ("\u540d" * 85, "\u540d" * 85),
        ("e\u0301" * 128, "\u00e9" * 128),
        ("\U0001f600" * 64, "\U0001f600" * 64),
    ],
)
def test_an_account_is_text_in_its_composed_form(text: str, account: str) -> None:
    assert account_of(text) == account


@pytest.mark.parametrize(
    "value",
    [
        "", "a" * 257, "\u540d" * 86, "a" * 10_240, "e\u0301" * 129, "a\nb", "a\x00", "a\x7f", "a\u0085b",
        "\ud800", "a\udfffb", "a\u202eb", "\u2066a", "a\u2069", "a\u200e", "\u200fa", "\u061ca",
        None, 1000, True, 1.5, b"alice", ["alice"], {"a": 1},
    ],
)  # fmt: skip
def test_what_cannot_be_an_account_is_none(value: object) -> None:
    assert account_of(value) is None


@given(st.text())
def test_an_account_stays_what_it_is(text: str) -> None:
    account = account_of(text)
    assert account is None or (account_of(account) == account and 0 < len(account.encode()) <= 256)


@pytest.mark.parametrize("header", ["Bearer a.b-c", "bearer a.b-c", "BEARER   a.b-c", "\t Bearer a.b-c "])
def test_the_scheme_may_be_written_as_one_likes(header: str) -> None:
    assert Credentials(header, {}).bearer() == "a.b-c"


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer a b", "Bearer a,Bearer b", "Bearer\ta", "Bearer a\n",
     "Bearer \u00e9", "Bearera", "Bearer a=b"],
)  # fmt: skip
def test_what_is_not_one_bearer_is_none(header: str | None) -> None:
    assert Credentials(header, {}).bearer() is None


def test_credentials_have_no_content_in_their_repr() -> None:
    assert "secret" not in repr(Credentials("Bearer secret", {"session": "secret"}))


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([ALICE], ALICE),
        ([None, Refused("no"), ALICE], ALICE),
        ([ALICE, Unavailable("down")], ALICE),
        ([Refused("no"), Unavailable("down"), ALICE], Unavailable("down")),
        ([], Refused("no credentials that any backend knows")),
        ([None, None], Refused("no credentials that any backend knows")),
        ([Refused("expired"), None, Refused("unknown")],
         Refused("0: expired; 2: unknown", (("0", "expired"), ("2", "unknown")))),
    ],
)  # fmt: skip
def test_the_backends_are_asked_in_order(
    answers: list[Authenticated | Refused | Unavailable | None], verdict: object
) -> None:
    authenticator = Authenticator({str(place): Fixed(answer) for place, answer in enumerate(answers)})
    assert authenticator.authenticate(Credentials(None, {})) == verdict
