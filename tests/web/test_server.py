"""What gunicorn's worker does in our stead."""

import socket
from http.client import HTTPResponse

import pytest
from gunicorn.http import errors  # type: ignore[import-untyped]  # gunicorn has no types

from proxy.web.pages import page, status_of


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (errors.InvalidRequestLine("x"), 400),
        (errors.InvalidHeader("x"), 400),
        (errors.LimitRequestLine(5000, 4094), 414),
        (errors.LimitRequestHeaders("x"), 431),
        (errors.ExpectationFailed("x"), 417),
        (errors.UnsupportedTransferCoding("x"), 501),
        (errors.InvalidResponseHeader("x"), 500),
        (errors.ConfigurationProblem("x"), 500),
        (ValueError("x"), 500),
    ],
)
def test_a_fault_has_the_status_of_whose_it_is(fault: Exception, status: int) -> None:
    assert status_of(fault) == status


def test_a_page_is_a_whole_answer() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(page(431))
        answer = HTTPResponse(theirs)
        answer.begin()
        assert (answer.status, answer.reason) == (431, "Request Header Fields Too Large")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.read() == b'{"code":431,"message":"request header fields too large","data":null}\n'
        assert answer.will_close
