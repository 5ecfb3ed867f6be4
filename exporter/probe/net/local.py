"""Which of this machine's own addresses a connection comes from, open or not. Nothing is sent for it."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final

from exporter.model.vocabulary import SocketAddress

_ANY: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - nobody listens there: no address has been chosen yet


def local_end(connection: socket.socket, address: str, port: int) -> SocketAddress | None:
    """Where a connection to an address comes from, as soon as it has begun to open; None where nothing leads there.

    Windows has chosen only the port by then: the routes say the address.
    """
    with suppress(OSError):
        chosen, local_port = connection.getsockname()[:2]
        source = local_address_towards(address, port) if chosen in _ANY else str(chosen)
        if source is not None and local_port:
            return SocketAddress(source, int(local_port))
    return None


def local_address_towards(address: str, port: int) -> str | None:
    """The address from which this machine speaks to another, by its routes; None where it has none."""
    with suppress(OSError, UnicodeError):
        family, kind, protocol, _, other = socket.getaddrinfo(
            address, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )[0]
        with socket.socket(family, kind, protocol) as unconnected:
            unconnected.connect(other)
            source = str(unconnected.getsockname()[0])
            return None if source in _ANY else source
    return None
