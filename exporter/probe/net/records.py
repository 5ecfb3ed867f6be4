"""What the heads of TLS records show before anything is decrypted: how much comes, and what may take long. Pure."""

from __future__ import annotations

from typing import Final

_HEAD: Final = 5  # bytes: type, version, length (RFC 8446, 5.1)
_HANDSHAKE: Final = 22
_FLIGHT: Final = 16 * 1024  # bytes; certificates and all else of a handshake have six
_SERVER_HELLO: Final = 2
_SESSION_AT: Final = 4 + 2 + 32  # of a ServerHello, behind its own head, the version and the random number

# Suites whose keys have a length that the server cannot choose: those of TLS 1.3, and ECDHE of TLS 1.2 (the registry of
# IANA). With DHE it gives a number of up to 10,000 bits to reckon with, which takes a second or two.
_LIGHT: Final = frozenset(
    {*range(0x1301, 0x1306), *range(0xC001, 0xC031), *range(0xC0AC, 0xC0B0), *range(0xCCA8, 0xCCAA)}
)


class Records:
    """The records that have come on one connection."""

    def __init__(self) -> None:
        self.number = 0
        self.size = 0  # bytes
        self.handshakes = 0  # records; in TLS 1.3 only those before anything is encrypted
        self._left = 0  # bytes that are to come of the record under way
        self._head = b""  # of a record, as far as it has come
        self._first = b""  # record, as far as it is looked at
        self._length = 0  # of the first record

    def feed(self, data: bytes) -> None:
        """Note what has come."""
        self.size += len(data)
        if len(self._first) < _FLIGHT:
            self._first += data[: _FLIGHT - len(self._first)]
        at = 0
        while at < len(data):
            if self._left:
                passed = min(self._left, len(data) - at)
                self._left -= passed
                at += passed
                continue
            taken = data[at : at + _HEAD - len(self._head)]
            self._head += taken
            at += len(taken)
            if len(self._head) == _HEAD:
                self._begin(self._head)
                self._head = b""

    def _begin(self, head: bytes) -> None:
        self.number += 1
        self.handshakes += head[0] == _HANDSHAKE
        self._left = int.from_bytes(head[3:], "big")
        self._length = self._length or self._left

    @property
    def may_take_long(self) -> bool:
        """Whether the handshake may take long to reckon with: by its suite, its length, or because that is unknown."""
        if self.size > _FLIGHT:
            return True
        hello = self._first[_HEAD : _HEAD + self._length]
        if len(hello) < self._length:  # not whole yet: nothing is done with it
            return False
        return _suite_of(hello) not in _LIGHT


def _suite_of(hello: bytes) -> int:
    """The cipher suite of a ServerHello; 0 where there is none."""
    if hello[:1] != bytes([_SERVER_HELLO]) or len(hello) <= _SESSION_AT:
        return 0
    at = _SESSION_AT + 1 + hello[_SESSION_AT]
    return int.from_bytes(hello[at : at + 2], "big")
