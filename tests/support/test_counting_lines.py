"""The lines count what HTTP asks, however it is cut into pieces, and a cut line carries nothing."""

from __future__ import annotations

import socket
from collections import Counter

import pytest

from tests.support.counting_lines import Lines, RequestReader
from tests.support.test_fault_proxy import EchoServer

STREAM = (
    b"PUT /b/x HTTP/1.1\r\nHost: h\r\nContent-Length: 29\r\n\r\n" + b"GET /b/x HTTP/1.1\r\n\r\nwhatever"
    b"GET /b?list-type=2&prefix=heads HTTP/1.1\r\nHost: h\r\n\r\n"
    b"GET /b/heads HTTP/1.1\r\nHost: h\r\n\r\n"
    b"DELETE /b/x HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
)


@pytest.mark.parametrize("size", [1, 2, 7, 64, len(STREAM)])
def test_requests_are_told_apart_in_pieces_of_any_size(size):
    counts: Counter[str] = Counter()
    reader = RequestReader(counts)
    for at in range(0, len(STREAM), size):
        reader.feed(STREAM[at : at + size])
    assert counts == {"PUT": 1, "LIST": 1, "GET": 1, "DELETE": 1, "bytes up": len(STREAM)}


def test_a_body_of_unknown_length_is_not_guessed():
    with pytest.raises(ValueError, match="unknown length"):
        RequestReader(Counter()).feed(b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_a_cut_line_resets_what_is_open_and_what_comes_and_is_whole_when_mended():
    request = b"GET / HTTP/1.1\r\n\r\n"
    upstream = EchoServer()
    with Lines(2, upstream.port) as lines:
        one, other = lines.lines
        near = [socket.create_connection(("127.0.0.1", line.port), 5) for line in (one, other)]
        assert [ask(connection, request) for connection in near] == [request, request]
        lines.cut(one)
        with pytest.raises(ConnectionError):
            ask(near[0], request)
        with pytest.raises(ConnectionError), socket.create_connection(("127.0.0.1", one.port), 5) as late:
            ask(late, request)
        assert ask(near[1], request) == request
        lines.mend(one)
        with socket.create_connection(("127.0.0.1", one.port), 5) as again:
            assert ask(again, request) == request
        assert (one.counts["GET"], other.counts["GET"]) == (2, 2)
        assert one.counts["bytes down"] == 2 * len(request)
        for connection in near:
            connection.close()


def ask(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    answer = b""
    while len(answer) < len(request):
        piece = connection.recv(1000)
        if not piece:
            raise ConnectionResetError("the other end is closed")
        answer += piece
    return answer
