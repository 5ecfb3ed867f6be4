"""A name server that answers every question for an address with 127.0.0.1, after a while."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

_A: Final = b"\x00\x01"
# A compressed name, type A, class IN, for a minute, four bytes: 127.0.0.1 (RFC 1035, section 4.1.3).
_ANSWER: Final = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01"


class Resolver(asyncio.DatagramProtocol):
    """Answers each question `delay` seconds after it came."""

    def __init__(self, delay: float) -> None:
        self._delay = delay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        asyncio.get_running_loop().call_later(self._delay, self._transport.sendto, answer(data), addr)


def answer(question: bytes) -> bytes:
    """The answer to a question with one name in it."""
    end = question.index(b"\x00", 12) + 5
    found = question[end - 4 : end - 2] == _A
    head = question[:2] + b"\x81\x80\x00\x01" + (b"\x00\x01" if found else b"\x00\x00") + b"\x00\x00\x00\x00"
    return head + question[12:end] + (_ANSWER if found else b"")


async def serve(address: str, delay: float) -> None:
    """Answer until the process ends."""
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: Resolver(delay), local_addr=(address, 53))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], float(sys.argv[2])))
