"""Callbacks that one thread answers together: one round trip to the store for all, and an answer of its own for each.

The server puts a Together into the environ of each, and lets the application begin them all before it asks for the
first answer. WSGI allows that: an application may start its response as late as with the first piece of its content.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from flask import Response

from proxy.domain.callbacks import Receipt
from proxy.domain.offline_messages import Letter
from proxy.ports import CallbackInbox

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

TOGETHER = "proxy.together"  # in the environ


class Together:
    """Of one thread. What is put in before the first question leaves with it."""

    def __init__(self) -> None:
        self._letters: list[Letter] = []
        self._found: list[Receipt | Exception] = []

    def put(self, letter: Letter, inbox: CallbackInbox) -> Callable[[], Receipt]:
        """What gives its receipt, or raises what the inbox has against it."""
        place = len(self._letters)
        self._letters.append(letter)

        def receipt() -> Receipt:
            if place >= len(self._found):
                self._found += _put_in(inbox, self._letters[len(self._found) :])
            found = self._found[place]
            if isinstance(found, Exception):
                raise found
            return found

        return receipt


class LaterAnswer(Response):
    """Stands for an answer that `conclude` makes once it is asked for, when the request's context has gone.

    It has no status, headers and body of its own, which would cost as much as the route's match.
    """

    def __init__(self, conclude: Callable[[], Response]) -> None:
        self._conclude = conclude
        self.concluded: Callable[[Response], None] = _nothing  # called with the answer

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterator[bytes]:
        answer = self._conclude()
        self.concluded(answer)
        yield from answer(environ, start_response)


def _nothing(_answer: Response) -> None:
    """Nobody asked to be told."""


def _put_in(inbox: CallbackInbox, letters: Sequence[Letter]) -> Sequence[Receipt | Exception]:
    try:
        return inbox.accept_all(letters)
    except Exception as error:  # noqa: BLE001  it is raised for each of them
        return [error] * len(letters)
