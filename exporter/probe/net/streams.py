"""What carries bytes to and fro: the interface that sockets, TLS and tunnels share."""

from __future__ import annotations

from typing import Protocol


class Stream(Protocol):
    """Bytes both ways. Deadlines are the attempt's, not a single call's, and who opened the socket closes it."""

    @property
    def pending(self) -> int:
        """How many bytes have come that nobody has read, as far as it is known without asking the kernel."""

    async def read(self, most: int) -> bytes:
        """What has arrived, so many bytes at most. Raises PeerClosed at the end, and OSError."""

    async def write(self, data: bytes) -> None:
        """Send all of it."""


class Resumed:
    """A stream of which something has been read already; that is read again first."""

    def __init__(self, said: bytes, below: Stream) -> None:
        self._said = said
        self._below = below

    @property
    def pending(self) -> int:
        """What is to be read again, and what has come below."""
        return len(self._said) + self._below.pending

    async def read(self, most: int) -> bytes:
        """What has arrived, the earlier first."""
        if not self._said:
            return await self._below.read(most)
        data, self._said = self._said[:most], self._said[most:]
        return data

    async def write(self, data: bytes) -> None:
        """Send all of it."""
        await self._below.write(data)
