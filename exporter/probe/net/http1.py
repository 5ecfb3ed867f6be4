"""Speak HTTP/1 on a stream: one request out, the head of its answer in, and of the body as much as somebody asks for.

It reads as clients do that want an answer: whatever has a readable status line is one, whoever wrote what follows. A
strict parser would call a service down for a header that nobody looks at. What cannot be read safely as a second answer
only ends the connection.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from http import HTTPStatus
from typing import Final

from anyio.lowlevel import checkpoint

from exporter.model.vocabulary import Answer
from exporter.probe.errors import NotHttp, PeerClosed, quoted
from exporter.probe.net.streams import Resumed, Stream

Headers = Sequence[tuple[bytes, bytes]]

_CHUNK: Final = 64 * 1024
LONGEST_HEAD: Final = 100 * 1024  # bytes; nobody sends a tenth of it
MOST_HEADERS: Final = 256  # of a head; what follows is passed over
_LONGEST_PHRASE: Final = 512  # bytes that are kept of the words behind a status
MOST_INTERIM: Final = 20  # answers before the one that is meant; one or two are usual
MOST_CHUNKS: Final = 1000  # of a body, beside those that are not small; of what is read of a page there is a handful
_SMALL: Final = 512  # bytes
_MOST_TRAILERS: Final = 100
_LONGEST_LINE: Final = 4096  # bytes, of a chunk's size or of a trailer
_IN_A_ROW: Final = 64  # chunks after which others have their turn
_BLANK: Final = 64  # bytes of empty lines before a status line that are passed over (RFC 9112, 2.2)

_BEGINNING: Final = b"HTTP/"
_STATUS_LINE: Final = re.compile(rb"HTTP/(\d)(?:\.(\d))?[ \t]+(\d{3})(?![0-9])[ \t]*([^\r\n]*)", re.IGNORECASE)
_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
_SIZE: Final = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})")  # of a chunk, whatever follows it in its line
_UNTIL_CLOSE: Final = None  # a length


class Connection:
    """HTTP/1 on one stream. Ask, read the body if you like; `keeps` says whether another request may follow."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._unread = bytearray()
        self._body: AsyncGenerator[bytes] | None = None
        self._persistent = True
        self.asked = 0  # requests so far
        self.heard = False  # whether anything came since the last one

    async def ask(self, method: str, target: bytes, headers: Headers) -> Answer:
        """Send a request without a body and read the head of its answer.

        Raises NotHttp for what is no answer, PeerClosed or OSError where the other side left before its status line was
        whole. What it had said before it left is read all the same.
        """
        lines = [b"%b %b HTTP/1.1" % (method.encode("ascii"), target), *(b"%b: %b" % header for header in headers)]
        self.asked, self.heard = self.asked + 1, False
        await self._stream.write(b"\r\n".join([*lines, b"", b""]))
        return await self.hear(method)

    async def hear(self, method: str) -> Answer:
        """Read the head of an answer to a request by this method, as `ask` does."""
        version, answer = await self._answer()
        length = _length(method, answer)
        self._body = self._chunks() if _is_chunked(answer) and length is _UNTIL_CLOSE else self._bytes(length)
        self._persistent = _persists(version, answer) and (length is not _UNTIL_CLOSE or _is_chunked(answer))
        return answer

    async def body(self) -> AsyncGenerator[bytes]:
        """The body of the last answer, as it was framed.

        Raises NotHttp, PeerClosed or OSError where it ends before it is whole; whoever has the head may not mind.
        """
        if self._body is not None:
            async with aclosing(self._body) as parts:
                async for part in parts:
                    yield part
            self._body = None

    def until_closed(self) -> AsyncGenerator[bytes]:
        """Whatever comes, as the body of an answer that was read elsewhere."""
        return self._bytes(_UNTIL_CLOSE)

    @property
    def keeps(self) -> bool:
        """Whether another request may be sent: the last answer was read to its end, and neither side closes."""
        return self._persistent and self._body is None and not self._unread

    def tunnel(self) -> Stream:
        """The stream behind the answer that opened it, with any bytes that came with that answer."""
        return Resumed(bytes(self._unread), self._stream)

    # ------------------------------------------------------------ the head

    async def _answer(self) -> tuple[tuple[int, int], Answer]:
        """The version and the head of the first answer that is more than an interim one."""
        for _ in range(MOST_INTERIM + 1):
            version, answer = _parsed(await self._head())
            if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
                raise NotHttp("the answer switches to another protocol, which nobody asked for")
            if answer.status >= HTTPStatus.OK:
                return version, answer
        raise NotHttp(f"more than {MOST_INTERIM} interim answers, and none behind them")

    async def _head(self) -> bytes:
        """The lines of a head, from its status line on."""
        seen = 0
        while True:
            if seen < len(_BEGINNING) + _BLANK:
                self._see_that_it_is_http()
            end = _END_OF_HEAD.search(self._unread, max(seen - 2, 0))
            if end and end.end() <= LONGEST_HEAD:
                head = bytes(self._unread[: end.start()])
                del self._unread[: end.end()]
                return head
            if len(self._unread) > LONGEST_HEAD:
                raise NotHttp(f"the head of the answer is longer than {LONGEST_HEAD // 1024} KiB")
            seen = len(self._unread)
            try:
                self._unread += await self._stream.read(_CHUNK)
                self.heard = True
            except OSError:
                # It left in the midst of its answer: what it had said by then counts.
                head = bytes(self._unread)
                self._unread.clear()
                if _STATUS_LINE.match(head) is None:
                    raise
                return head

    def _see_that_it_is_http(self) -> None:
        """Drop empty lines before a status line. Raises NotHttp for what begins otherwise: its lines may never end."""
        begun = self._unread.lstrip(b"\r\n")
        blank = len(self._unread) - len(begun)
        if blank > _BLANK or not _BEGINNING.startswith(bytes(begun[: len(_BEGINNING)]).upper()):
            said = bytes(self._unread)
            raise NotHttp(f"the answer is not HTTP: it begins with {quoted(said)}", said)
        del self._unread[:blank]

    # ------------------------------------------------------------ the body

    async def _more(self, most: int | None) -> bytes:
        """What comes next, from one byte to so many. Raises PeerClosed at the end."""
        if not self._unread:
            data = await self._stream.read(_CHUNK)
            if most is None or len(data) <= most:
                return data
            self._unread += data
        data = bytes(self._unread[:most])
        del self._unread[:most]  # from the front, which moves nothing
        return data

    async def _bytes(self, length: int | None) -> AsyncGenerator[bytes]:
        """So many bytes, or all up to the end of the connection."""
        while length is _UNTIL_CLOSE or length > 0:
            try:
                data = await self._more(length)
            except PeerClosed:
                if length is _UNTIL_CLOSE:
                    return
                raise
            if length is not _UNTIL_CLOSE:
                length -= len(data)
            yield data

    async def _line(self) -> bytes:
        seen = 0
        while (end := self._unread.find(b"\n", seen)) < 0:
            seen = len(self._unread)
            if seen > _LONGEST_LINE:
                break
            self._unread += await self._stream.read(_CHUNK)
        if not 0 <= end <= _LONGEST_LINE:
            raise NotHttp("a line of a chunked body does not end")
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return line.rstrip(b"\r")

    async def _chunks(self) -> AsyncGenerator[bytes]:
        """The contents of chunks, up to the last one. Raises NotHttp for what is none, and for very many small ones."""
        number, size = 0, 0
        while number < MOST_CHUNKS + size // _SMALL:
            number += 1
            if number % _IN_A_ROW == 0:
                await checkpoint()
            line = await self._line()
            found = _SIZE.match(line)
            if found is None:
                raise NotHttp(f"a chunk of the body has no size: it begins with {quoted(line)}")
            length = int(found[1], 16)
            if length == 0:
                await self._trailers()
                return
            async for part in self._bytes(length):
                yield part
            size += length
            await self._line()
        raise NotHttp(f"the body comes in more than {MOST_CHUNKS} small chunks")

    async def _trailers(self) -> None:
        for _ in range(_MOST_TRAILERS):
            if not await self._line():
                return
        raise NotHttp("there is no end of what follows the body")


def _parsed(head: bytes) -> tuple[tuple[int, int], Answer]:
    """The version, the status and the headers of a head. Raises NotHttp where no status can be read."""
    line, *rest = head.split(b"\n", MOST_HEADERS + 1)
    found = _STATUS_LINE.match(line)
    if found is None or int(found[3]) < HTTPStatus.CONTINUE:
        raise NotHttp(f"the answer has no readable status: it begins with {quoted(line)}")
    headers: list[tuple[str, str]] = []
    for raw in rest[:MOST_HEADERS]:
        text = raw.rstrip(b"\r").decode("latin-1")
        if text[:1] in {" ", "\t"} and headers:  # a folded line (RFC 9112, 5.2)
            name, value = headers[-1]
            headers[-1] = name, f"{value} {text.strip()}"
        else:
            name, colon, value = text.partition(":")
            if colon:
                headers.append((name.strip(), value.strip()))
    phrase = found[4][:_LONGEST_PHRASE].decode("latin-1").strip()
    return (int(found[1]), int(found[2] or 0)), Answer(int(found[3]), tuple(headers), phrase=phrase)


def _words(answer: Answer, *names: str) -> frozenset[str]:
    """The comma-separated words of some headers, in lower case."""
    values = (value for name in names for value in answer.values(name))
    return frozenset(word.strip().lower() for value in values for word in value.split(","))


def _is_chunked(answer: Answer) -> bool:
    return "chunked" in _words(answer, "Transfer-Encoding")


def _length(method: str, answer: Answer) -> int | None:
    """How many bytes of body follow; None: as many as come, or as the chunks say."""
    opened = method == "CONNECT" and HTTPStatus(200).value <= answer.status < HTTPStatus.MULTIPLE_CHOICES
    if method == "HEAD" or opened or answer.status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
        return 0
    lengths = _words(answer, "Content-Length")
    if len(lengths) != 1 or answer.values("Transfer-Encoding"):
        return _UNTIL_CLOSE
    (length,) = lengths
    return int(length) if length.isascii() and length.isdecimal() and len(length) < 19 else _UNTIL_CLOSE  # noqa: PLR2004 - 64 bits


def _persists(version: tuple[int, int], answer: Answer) -> bool:
    """Whether the other side keeps the connection. Old proxies say so by a name of their own (RFC 9112, C.2.2)."""
    said = _words(answer, "Connection", "Proxy-Connection")
    return "close" not in said and (version >= (1, 1) or "keep-alive" in said)
