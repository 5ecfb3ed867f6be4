"""What an existing list lets through, as values. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from exporter.allowlist.hosts import covers


@dataclass(frozen=True, slots=True)
class Allowed:
    """What an existing list lets through."""

    allows: Callable[[str, str, int], bool]  # host, protocol, port
    web_only: bool = False  # it is a web proxy's: of what else there is it says nothing


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list; what it does not say, it does not restrict."""

    host: str
    protocol: str | None = None
    ports: range | None = None

    def allows(self, host: str, protocol: str, port: int) -> bool:
        """Whether it does. A dot at the beginning means the name and all below it, as Squid has it."""
        below = covers(f"*{self.host}", host) if self.host.startswith(".") else False
        return (
            (below or covers(self.host.removeprefix("."), host))
            and self.protocol in {None, protocol}
            and (self.ports is None or port in self.ports)
        )
