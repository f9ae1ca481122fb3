"""Requests are cut where gunicorn itself would cut them, however their bytes come; else they are refused."""

import io
from collections.abc import Callable, Sequence

import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]  # gunicorn has no types
from gunicorn.http import RequestParser  # type: ignore[import-untyped]
from gunicorn.http.errors import LimitRequestHeaders, ParseException  # type: ignore[import-untyped]
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.web.collecting import BodyTooLong, Collector, EndsElsewhere, decode_body

CLIENT = ("127.0.0.1", 50_000)
LIMIT = 200
Seen = tuple[str, str, list[tuple[str, str]], bytes]  # method, target, headers, body


def config() -> Config:
    found = Config()
    found.set("forwarded_allow_ips", "")
    return found


CONFIG = config()


def collected(pieces: Sequence[bytes], longest_body: Callable[[object], int] = lambda _: LIMIT) -> list[Seen | str]:
    """The requests in what comes, and "refused" where that is the end of it."""
    collector, found = Collector(CONFIG, CLIENT, longest_body), list[Seen | str]()
    try:
        for piece in pieces:
            request = collector.add(piece)
            while request is not None:
                decode_body(request)
                found.append((request.method, request.uri, request.headers, request.body.read()))
                if request.should_close():
                    return found
                request = collector.add(b"") if collector.size else None
        if collector.size:
            collector.end()
    except ParseException:
        found.append("refused")
    return found


def parsed_by_gunicorn(data: bytes) -> list[Seen | str]:
    """The same by gunicorn alone, as its own workers read."""
    found = list[Seen | str]()
    parser = RequestParser(CONFIG, iter([data]), CLIENT)
    try:
        for request in parser:
            body = request.body.read()
            length = dict(request.headers).get("CONTENT-LENGTH")
            if length is not None and len(body) < int(length):
                found.append("refused")  # by the application, which notices
                break
            found.append((request.method, request.uri, request.headers, body))
    except (ParseException, OSError):
        found.append("refused")
    return found


POST = b"POST /callbacks/x HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
CORPUS = [
    GET,
    GET + GET,
    b"\r\n" + GET,
    b"\r\n\r\n" + GET,
    b"\r" + GET,
    b"\n" + GET,
    GET + b"\r\n" + GET,
    POST + b"Content-Length: 5\r\n\r\nhello",
    POST + b"Content-Length: 5\r\n\r\nhello" + GET,
    POST + b"Content-Length: 5\r\n\r\nhel",
    POST + b"Content-Length: 0\r\n\r\n" + GET,
    POST + b"Content-Length: 05\r\n\r\nhello" + GET,
    POST + b"Content-Length: +5\r\n\r\nhello" + GET,
    POST + b"Content-Length: -5\r\n\r\nhello" + GET,
    POST + b"Content-Length: 5,5\r\n\r\nhello" + GET,
    POST + b"Content-Length: 0x5\r\n\r\nhello" + GET,
    POST + b"Content-Length: 5_0\r\n\r\nhello" + GET,
    POST + b"Content-Length: \xb2\r\n\r\nhello" + GET,
    POST + b"Content-Length: 5 \r\n\r\nhello" + GET,
    POST + b"Content-Length : 5\r\n\r\nhello" + GET,
    POST + b"Content_Length: 5\r\n\r\nhello" + GET,
    POST + b"Content-Length:\r\n\r\nhello" + GET,
    POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + GET,
    POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + GET,
    POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + GET,
    POST + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello" + GET,
    POST + b"Transfer-Encoding: identity\r\n\r\nhello" + GET,
    POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + GET,
    POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + GET,
    POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + GET,
    POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + GET,
    POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + GET,
    POST + b"Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n" + GET,
    POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + GET,
    POST + b"Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    POST + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n" + GET,
    POST + b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + GET,
    POST + b"X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    POST + b"X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    b"POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    b"POST /x HTTP/1.0\r\n\r\n" + GET,
    b"POST /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + GET,
    b"GET /x HTTP/1.1\nHost: x\n\n",
    b"GET /x HTTP/1.1\r\nHost: x\n\r\n" + GET,
    b"GET /x HTTP/1.1\r\nHost: x\r\n\n" + GET,
    b"GET  /x HTTP/1.1\r\n\r\n" + GET,
    b"GET /x\r\n\r\n" + GET,
    b"GET /x HTTP/1.1\r\n: x\r\n\r\n" + GET,
    b"GET /x HTTP/1.1\r\nno colon\r\n\r\n" + GET,
    b"GET /x HTTP/1.1\r\n\r\n\r\n" + GET,
    b"GET /x HTTP/1.1\r\n",
    b"GET /x HT",
    b"GET http://x/y HTTP/1.1\r\n\r\n" + GET,
    b"OPTIONS * HTTP/1.1\r\n\r\n" + GET,
    b"CONNECT x:80 HTTP/1.1\r\n\r\n" + GET,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    POST + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello" + GET,
    POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" + GET,
    POST + b"Expect: more\r\nContent-Length: 5\r\n\r\nhello" + GET,
    CHUNKED + b"0\r\n\r\n" + GET,
    CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n" + GET,
    CHUNKED + b"5;a=b;c=\"d\"\r\nhello\r\n0;x\r\n\r\n" + GET,
    CHUNKED + b"5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"5;a\rb\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"5 ;a\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"0005\r\nhello\r\n000\r\n\r\n" + GET,
    CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"5_\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b";a\r\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"5\nhello\r\n0\r\n\r\n" + GET,
    CHUNKED + b"5\r\nhello\n0\r\n\r\n" + GET,
    CHUNKED + b"5\r\nhelloXX0\r\n\r\n" + GET,
    CHUNKED + b"5\r\nhello0\r\n\r\n" + GET,
    CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n" + GET,
    CHUNKED + b"5\r\nhel",
    CHUNKED + b"5\r\nhello",
    CHUNKED + b"5\r\nhello\r\n0\r\n",
    CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n\r\n" + GET,
    CHUNKED + b"5\r\nhello\r\n0\r\nX: y\n\r\n" + GET,
    CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n" + GET,
    CHUNKED + b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n" + GET,
    CHUNKED + b"5\r\nhello\r\n0\r\nno colon\r\n\r\n" + GET,
    CHUNKED + b"5\r\nhello\r\n0\r\n\n" + GET,
    CHUNKED + b"ffffffffffffffffffffff\r\nhello\r\n0\r\n\r\n" + GET,
]  # fmt: skip


@pytest.mark.parametrize("data", CORPUS, ids=lambda data: repr(data.removeprefix(POST)[:60]))
def test_what_comes_in_pieces_is_what_gunicorn_reads_or_refused(data: bytes) -> None:
    for pieces in (
        [data],
        [data[at : at + 1] for at in range(len(data))],
        *([data[:at], data[at:]] for at in range(1, len(data))),
    ):
        agrees(collected(pieces), parsed_by_gunicorn(data))


@given(
    st.lists(
        st.sampled_from(
            [
                POST,
                CHUNKED,
                GET,
                b"Content-Length: 3\r\n",
                b"\r\n",
                b"\n",
                b"\r",
                b"0",
                b"3",
                b"abc",
                b"X: y\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b" ",
                b";",
                b"\r\n\r\n",
            ]
        ),
        max_size=12,
    ),
    st.integers(1, 40),
)
@example([CHUNKED, b"3", b"\r\n", b"abc", b"\r\n", b"0", b"\r\n\r\n", GET], 1)
def test_whatever_is_put_together_is_cut_where_gunicorn_cuts_it(parts: list[bytes], step: int) -> None:
    data = b"".join(parts)
    agrees(collected([data[at : at + step] for at in range(0, len(data), step)]), parsed_by_gunicorn(data))


def agrees(ours: list[Seen | str], theirs: list[Seen | str]) -> None:
    """The same requests; or fewer, and then the connection was refused."""
    requests = [it for it in ours if it != "refused"]
    assert requests == [it for it in theirs if it != "refused"][: len(requests)]
    assert ours == theirs or ours[-1] == "refused"


def test_a_body_that_is_too_long_is_refused_before_it_comes() -> None:
    for head in (b"Content-Length: 201\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nc9\r\n"):
        with pytest.raises(BodyTooLong):
            Collector(CONFIG, CLIENT, lambda _: LIMIT).add(POST + head)


def test_a_body_in_very_many_chunks_is_refused() -> None:
    collector = Collector(CONFIG, CLIENT, lambda _: 1 << 20)
    collector.add(CHUNKED)
    collector.add(b"1\r\nx\r\n" * 10_000)
    with pytest.raises(BodyTooLong):
        collector.add(b"1\r\nx\r\n" * 10_000)


def test_a_head_that_does_not_end_is_refused() -> None:
    collector = Collector(CONFIG, CLIENT, lambda _: LIMIT)
    collector.add(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000)
    with pytest.raises(LimitRequestHeaders):
        collector.add(b"X: y\r\n" * 4000)


def test_100_continue_is_said_once_and_only_to_a_caller_who_waits() -> None:
    head = POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    waiting = Collector(CONFIG, CLIENT, lambda _: LIMIT)
    assert waiting.add(head) is None
    assert (waiting.take_expectation(), waiting.take_expectation()) == (True, False)
    whole = Collector(CONFIG, CLIENT, lambda _: LIMIT).add(head + b"ab")
    assert whole is not None
    assert whole._expected_100_continue is False


def test_a_decoded_body_that_does_not_end_where_it_was_cut_is_refused() -> None:
    request = Collector(CONFIG, CLIENT, lambda _: LIMIT).add(CHUNKED + b"2\r\nab\r\n0\r\n\r\n")
    assert request is not None
    request.unreader.unread(b"0\r\n\r\n")
    with pytest.raises(EndsElsewhere):
        decode_body(request)


def test_a_plain_body_needs_no_decoding() -> None:
    request = Collector(CONFIG, CLIENT, lambda _: LIMIT).add(POST + b"Content-Length: 2\r\n\r\nab")
    assert request is not None
    decode_body(request)
    assert isinstance(request.body, io.BytesIO)


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (b"Content-Length: 5\r\n", b"hello"),
        (b"Content-Length: 5\r\nConnection: close\r\n", b"hello"),
        (b"Content-Length: 5\r\nExpect: 100-continue\r\n", b"hello"),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"),
        (b"", b""),
    ],
)
def test_a_callback_s_head_that_comes_again_is_read_as_the_first_time(fields: bytes, body: bytes) -> None:
    head = b"POST /callbacks/mimc/%61?b=c HTTP/1.1\r\nHost: a.example\r\n" + fields + b"\r\n"
    expected = parsed_by_gunicorn((head + body) * 2)
    assert [collected([(head + body) * 2]) for _ in range(2)] == [expected] * 2
    assert [collected([head, body, head, body]) for _ in range(2)] == [expected] * 2


def test_each_of_two_callers_with_the_same_head_has_its_own_request() -> None:
    head = b"POST /callbacks/mimc/a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    for client in (CLIENT, ("192.0.2.7", 1), "a unix socket's"):
        collector = Collector(CONFIG, client, lambda _: LIMIT)
        assert collector.add(head) is None
        assert collector.take_expectation()
        assert not collector.take_expectation()
        request = collector.add(b"hello")
        assert request is not None
        assert (request.peer_addr, request.remote_addr, request.body.read()) == (client, client, b"hello")
