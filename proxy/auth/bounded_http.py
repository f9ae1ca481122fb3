"""HTTP answers of the developer's own systems, bounded in time and size. Nothing of the environment is used."""

import time
from pathlib import Path

import requests
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as TookTooLong


class AnswerTooLong(requests.RequestException):
    """There is more of it than we take."""


def session_for(ca_file: Path | None) -> requests.Session:
    """`ca_file` None: the well-known authorities."""
    session = requests.Session()
    session.trust_env = False
    session.verify = str(ca_file) if ca_file else True
    return session


def read_body(response: BaseHTTPResponse, most: int, deadline: float) -> bytes:
    """The body of a response of which only the head was read, at most `most` bytes; `deadline` is monotonic.

    It is read piece by piece as it comes: one that drips outlives the deadline by one wait at most. Raises
    AnswerTooLong, requests.Timeout and requests.ConnectionError.
    """
    body = b""
    try:
        while piece := response.read1(most, decode_content=True):
            body += piece
            if len(body) > most:
                raise AnswerTooLong
            if time.monotonic() >= deadline:
                raise requests.Timeout
    except TookTooLong:
        raise requests.Timeout from None
    except HTTPError:
        raise requests.ConnectionError from None
    return body
