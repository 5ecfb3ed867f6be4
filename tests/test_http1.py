"""Answers as they are spoken: what has a readable status line is one, whoever wrote the rest of it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.vocabulary import Answer
from exporter.probe.errors import NotHttp, PeerClosed
from exporter.probe.net.http1 import LONGEST_HEAD, MOST_CHUNKS, Connection
from exporter.system.loop import run_on_loop

CUT = ConnectionResetError(104, "Connection reset by peer")


class Said:
    """A peer that says some things, piece by piece, and then leaves."""

    pending = 0

    def __init__(self, *pieces: bytes, leaves: OSError | None = None) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self._leaves = leaves or PeerClosed("the connection was closed before the answer")
        self.heard = b""

    async def read(self, most: int) -> bytes:
        if not self._pieces:
            raise self._leaves
        piece = self._pieces.pop(0)
        if len(piece) > most:
            self._pieces.insert(0, piece[most:])
        return piece[:most]

    async def write(self, data: bytes) -> None:
        self.heard += data


async def _read(stream: Said, method: str) -> tuple[Answer, bytes, bool]:
    connection = Connection(stream)
    answer = await connection.ask(method, b"/", [(b"Host", b"a.example")])
    body = b""
    with suppress(NotHttp, OSError):
        async for part in connection.body():
            body += part
    return answer, body, connection.keeps


def read(*pieces: bytes, method: str = "GET", leaves: OSError | None = None) -> tuple[Answer, bytes, bool]:
    """The answer, its body, and whether another request could follow."""
    return run_on_loop(_read, Said(*pieces, leaves=leaves), method)


def head(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("latin-1")


# ---------------------------------------------------------------- what is an answer


@pytest.mark.parametrize(
    "line",
    [
        "HTTP/1.1 403 Forbidden",
        "HTTP/1.1 403 ",
        "HTTP/1.1 403",
        "HTTP/1.0 403 Forbidden",
        "HTTP/1.2 403 Forbidden",
        "HTTP/2 403",
        "HTTP/2.0 403 Forbidden",
        "http/1.1 403 forbidden",
        "HTTP/1.1  403  two blanks",
        "HTTP/1.1\t403\ttabs",
        "HTTP/1.1 403 Verb\xf6ten \x00\x7f",
        "\n\nHTTP/1.1 403 after empty lines",
    ],
)
@pytest.mark.parametrize("ending", ["\r\n", "\n"])
def test_a_readable_status_line_makes_an_answer(line: str, ending: str) -> None:
    text = f"{line}\nServer: x\n\n".replace("\n", ending)
    answer, _, _ = read(text.encode("latin-1"))
    phrase = line.strip("\n").split(None, 2)[2:]
    assert answer == Answer(403, (("Server", "x"),), phrase="".join(phrase))


@pytest.mark.parametrize(
    ("lines", "seen"),
    [
        ("A : blank before the colon", ("A", "blank before the colon")),
        ("A B: a blank in the name", ("A B", "a blank in the name")),
        ("\xc4: no letter of ASCII", ("\xc4", "no letter of ASCII")),
        ("A(1)[2]: no token", ("A(1)[2]", "no token")),
        (": no name", ("", "no name")),
        ("A:", ("A", "")),
        ("A: \x00\x01", ("A", "\x00\x01")),
        ("A: folded\n  over two lines", ("A", "folded over two lines")),
        ("no colon at all\nA: b", ("A", "b")),
        (" folds what is not there\nA: b", ("A", "b")),
        ("Content-Length: -1", ("Content-Length", "-1")),
        ("Content-Length: 0x10", ("Content-Length", "0x10")),
        ("Content-Length: 99999999999999999999999", ("Content-Length", "99999999999999999999999")),
        ("Transfer-Encoding: xchunked", ("Transfer-Encoding", "xchunked")),
        ("Transfer-Encoding: chunked, gzip", ("Transfer-Encoding", "chunked, gzip")),
    ],
)
def test_an_odd_header_takes_nothing_from_the_answer(lines: str, seen: tuple[str, str]) -> None:
    answer, _, _ = read(head(f"HTTP/1.1 200 OK\n{lines}\n\n"))
    assert answer.status == 200
    assert seen in answer.headers


def test_lengths_that_contradict_each_other_take_nothing_from_the_answer() -> None:
    twice = "HTTP/1.1 200 OK\nContent-Length: 2\nContent-Length: 3\n\n"
    both = "HTTP/1.1 200 OK\nContent-Length: 2\nTransfer-Encoding: chunked\n\n"
    assert read(head(twice) + b"abcd") == (
        Answer(200, (("Content-Length", "2"), ("Content-Length", "3")), phrase="OK"),
        b"abcd",
        False,
    )
    answer, body, _ = read(head(both) + b"3\r\nabc\r\n0\r\n\r\n")
    assert (answer.status, body) == (200, b"abc")


@pytest.mark.parametrize(
    "said",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b"<html>", b"HTTP", b"\r\n" * 40, b"HTPP/1.1 200 OK"],
)
def test_what_begins_otherwise_is_no_http(said: bytes) -> None:
    with pytest.raises((NotHttp, PeerClosed)) as caught:
        read(said)
    assert isinstance(caught.value, NotHttp) or said == b"HTTP"


@pytest.mark.parametrize("line", ["HTTP/1.1 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 20 OK", "HTTP/x 200", "HTTP/1.1 099 x"])
def test_a_status_that_nobody_can_read_is_none(line: str) -> None:
    with pytest.raises(NotHttp, match="no readable status"):
        read(head(f"{line}\nServer: x\n\n"))


def test_what_is_no_http_is_quoted_as_far_as_it_is_fit_to_be_read() -> None:
    with pytest.raises(NotHttp, match=r"it begins with 'SSH-2\.0-OpenSSH_9\.2'$"):
        read(b"SSH-2.0-OpenSSH_9.2\r\nsecond line\r\n")
    with pytest.raises(NotHttp, match=r"it begins with '\\x1b\[31m\\xff'$"):
        read(b"\x1b[31m\xff")
    with pytest.raises(NotHttp, match=r"it begins with 'you said'$"):
        read(b"you said " + b"a-long-password-that-does-not-fit" * 2)


def test_interim_answers_are_passed_over() -> None:
    interim = "HTTP/1.1 100 Continue\n\nHTTP/1.1 103 Early Hints\nLink: </a>\n\n" * 3
    assert read(head(f"{interim}HTTP/1.1 404 Not Found\nContent-Length: 0\n\n"))[0].status == 404


def test_a_switch_of_protocols_that_nobody_asked_for_is_no_answer() -> None:
    with pytest.raises(NotHttp, match="switches to another protocol"):
        read(head("HTTP/1.1 101 Switching\nUpgrade: x\n\n"))


def test_a_head_without_end_is_no_answer_and_a_long_one_is() -> None:
    begun = b"HTTP/1.1 200 OK\r\nA: "
    longest = begun + b"a" * (LONGEST_HEAD - len(begun) - 4) + b"\r\n\r\n"
    assert read(longest)[0].status == 200
    with pytest.raises(NotHttp, match="longer than 100 KiB"):
        read(begun + b"a" * (LONGEST_HEAD - len(begun) - 3) + b"\r\n\r\n")
    with pytest.raises(NotHttp, match="longer than 100 KiB"):
        read(begun, b"a" * 2 * LONGEST_HEAD)


@pytest.mark.parametrize("leaves", [None, CUT], ids=["closes", "is cut"])
@pytest.mark.parametrize("said", ["HTTP/1.1 403 Forbidden\nServer: x\n", "HTTP/1.1 403 Forb", "HTTP/1.1 403"])
def test_who_leaves_within_the_head_has_answered_once_the_status_is_said(said: str, leaves: OSError | None) -> None:
    assert read(head(said), leaves=leaves)[0].status == 403


@pytest.mark.parametrize("leaves", [None, CUT], ids=["closes", "is cut"])
@pytest.mark.parametrize("said", ["", "HTTP/1.1 ", "HTTP/1.1 40", "\n\n"])
def test_who_leaves_before_the_status_has_not_answered(said: str, leaves: OSError | None) -> None:
    with pytest.raises(type(leaves or PeerClosed())):
        read(head(said), leaves=leaves)


# ---------------------------------------------------------------- bodies, and what follows them


@pytest.mark.parametrize(
    ("said", "body", "keeps"),
    [
        ("HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", b"abc", True),
        ("HTTP/1.1 200 OK\nContent-Length: 3, 3\n\nabc", b"abc", True),
        ("HTTP/1.1 200 OK\nContent-Length: 3\nConnection: close\n\nabc", b"abc", False),
        ("HTTP/1.1 200 OK\nContent-Length: 3\nProxy-Connection: Close\n\nabc", b"abc", False),
        ("HTTP/1.1 200 OK\nContent-Length: 3\n\nabcd", b"abc", False),  # a second answer that nobody asked for
        ("HTTP/1.1 200 OK\nContent-Length: 3\n\nab", b"ab", False),
        ("HTTP/1.0 200 OK\nContent-Length: 3\n\nabc", b"abc", False),
        ("HTTP/1.0 200 OK\nContent-Length: 3\nConnection: Keep-Alive\n\nabc", b"abc", True),
        ("HTTP/1.0 200 OK\nContent-Length: 3\nProxy-Connection: keep-alive\n\nabc", b"abc", True),
        ("HTTP/1.0 200 OK\nProxy-Connection: keep-alive\n\nabc", b"abc", False),
        ("HTTP/1.1 200 OK\n\nabc", b"abc", False),
        ("HTTP/1.1 204 No Content\n\n", b"", True),
        ("HTTP/1.1 304 Not Modified\nContent-Length: 3\n\n", b"", True),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: Chunked\n\n3\nabc\n2;x=y\nde\n0\nTrailer: x\n\n", b"abcde", True),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3 \nabc\n0\n\n", b"abc", True),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\nabc\nno size\nde", b"abc", False),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\nabc", b"abc", False),
    ],
)
def test_a_body_is_read_as_it_is_framed(said: str, body: bytes, *, keeps: bool) -> None:
    assert read(head(said))[1:] == (body, keeps)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("Content-Length: 3\n\nab", PeerClosed),
        ("Transfer-Encoding: chunked\n\n3\nab", PeerClosed),
        ("Transfer-Encoding: chunked\n\n3\nabc\n", PeerClosed),
        ("Transfer-Encoding: chunked\n\n3\nabc\nno size\n", NotHttp),
        ("Transfer-Encoding: chunked\n\n" + "f" * 100_000, NotHttp),
    ],
)
def test_a_body_that_is_not_whole_is_told_to_who_wants_it_whole(said: str, error: type[Exception]) -> None:
    async def play() -> None:
        connection = Connection(Said(head(f"HTTP/1.1 200 OK\n{said}")))
        await connection.ask("GET", b"/", [])
        async for _ in connection.body():
            pass

    with pytest.raises(error):
        run_on_loop(play)


def test_a_long_body_may_come_in_any_number_of_chunks_that_are_not_small() -> None:
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    said = head("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n") + chunk * 3 * MOST_CHUNKS + b"0\r\n\r\n"
    assert read(said)[1:] == (b"x" * 1024 * 3 * MOST_CHUNKS, True)


def test_the_answer_to_head_has_no_body() -> None:
    assert read(head("HTTP/1.1 200 OK\nContent-Length: 3\n\n"), method="HEAD")[1:] == (b"", True)


@pytest.mark.parametrize("more", ["", "Content-Length: 5\n", "Transfer-Encoding: chunked\n", "Connection: close\n"])
def test_behind_an_opened_tunnel_everything_is_the_tunnels(more: str) -> None:
    async def play() -> list[bytes]:
        stream = Said(head(f"HTTP/1.1 200 Connection established\n{more}\n") + b"\x16\x03", b"\x01rest")
        connection = Connection(stream)
        assert (await connection.ask("CONNECT", b"a.example:443", [])).status == 200
        assert [part async for part in connection.body()] == []
        tunnel = connection.tunnel()
        return [await tunnel.read(1), await tunnel.read(10), await tunnel.read(10)]

    assert run_on_loop(play) == [b"\x16", b"\x03", b"\x01rest"]


def test_requests_follow_each_other_on_one_connection() -> None:
    async def play() -> tuple[list[int], bytes]:
        stream = Said(head("HTTP/1.1 407 No\nContent-Length: 4\n\npage"), head("HTTP/1.1 200 OK\n\n"))
        connection = Connection(stream)
        statuses = []
        for headers in ([], [(b"Proxy-Authorization", b"Basic eA==")]):
            statuses.append((await connection.ask("CONNECT", b"a.example:443", headers)).status)
            async for _ in connection.body():
                pass
        return statuses, stream.heard

    statuses, heard = run_on_loop(play)
    assert statuses == [407, 200]
    assert heard == head(
        "CONNECT a.example:443 HTTP/1.1\n\nCONNECT a.example:443 HTTP/1.1\nProxy-Authorization: Basic eA==\n\n"
    )


# ---------------------------------------------------------------- whatever is said


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in at} | {len(data)})
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


ANSWERS = st.sampled_from(
    [
        head("HTTP/1.1 200 OK\nContent-Length: 3\nServer: x\n\nabc"),
        head("HTTP/1.1 100 Continue\n\nHTTP/1.1 404 No\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n"),
        b"\nHTTP/1.0 503 No\nA: b\n c\n\nuntil the end",
    ]
)


@given(ANSWERS, st.lists(st.integers(0, 200), max_size=8))
def test_it_does_not_matter_in_which_pieces_an_answer_comes(data: bytes, at: list[int]) -> None:
    assert read(*pieces(data, at)) == read(data)


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]),
)
def test_whatever_is_said_ends_in_an_answer_or_in_one_of_our_exceptions(said: bytes, before: bytes) -> None:
    try:
        answer, _, _ = read(before + said)
    except (NotHttp, PeerClosed):
        return
    assert 200 <= answer.status <= 999
