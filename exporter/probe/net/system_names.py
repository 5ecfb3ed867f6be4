"""What files say to this machine's own resolver: names of the hosts file, servers, timeouts, search list."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_WINDOWS: Final = sys.platform == "win32"
HOSTS: Final = (
    Path(os.environ.get("SystemRoot", r"C:\Windows"), "System32", "drivers", "etc", "hosts")  # noqa: SIM112 - its name
    if _WINDOWS
    else Path("/etc/hosts")
)
RESOLV_CONF: Final = Path("/etc/resolv.conf")

# resolv.conf(5), and <resolv.h> for what is not in there.
_SERVERS_AT_MOST: Final = 3
_TIMEOUT, _TIMEOUT_AT_MOST = 5, 30  # seconds
_ATTEMPTS, _ATTEMPTS_AT_MOST = 2, 5
_ELSEWHERE: Final = 4.5  # seconds: where no file says it, "try again" after that means that nobody answered


@dataclass(frozen=True, slots=True)
class Resolver:
    """How the system's resolver asks."""

    servers: tuple[str, ...] = ()  # empty: not known
    timeout: int = _TIMEOUT  # seconds that it waits for one answer
    attempts: int = _ATTEMPTS
    search: tuple[str, ...] = ()  # domains that it adds to names

    @property
    def patience(self) -> float:
        """Seconds after which it gives a question up that no server has answered at all."""
        if not self.servers:
            return _ELSEWHERE
        if not by_glibc():
            return self.timeout  # musl asks all servers at once, again and again for so long
        count = len(self.servers)
        waits = [self.timeout, *((self.timeout << number) // count for number in range(1, count))]
        return float(self.attempts * sum(max(1, wait) for wait in waits))


def by_glibc() -> bool:
    """Whether the C library is GNU's."""
    if sys.platform == "win32":
        return False
    with suppress(AttributeError, ValueError, OSError):
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    return False


class _File(Generic[T]):
    """What a file says, read again when it has changed; what an empty one says where it cannot be read."""

    def __init__(self, path: Path, read: Callable[[Iterable[str]], T]) -> None:
        self._path = path
        self._read = read
        self._known: tuple[object, T] | None = None

    def says(self) -> T:
        try:
            found = self._path.stat()
            version: object = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError:
            version = None
        known = self._known
        if known is None or known[0] != version:
            lines: list[str] = []
            with suppress(OSError):
                lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
            self._known = known = (version, self._read(lines))
        return known[1]


def _names(lines: Iterable[str]) -> frozenset[str]:
    entries = (line.partition("#")[0].split() for line in lines)
    return frozenset(name.lower() for _, *names in filter(None, entries) for name in names)


def _settings(lines: Iterable[str]) -> Resolver:
    servers: list[str] = []
    options: list[str] = []
    search: list[str] = []
    for line in lines:
        match line.split():
            case ["nameserver", server, *_] if _is_address(server):
                servers.append(server)
            case ["options", *more]:
                options += more
            case ["search" | "domain", *domains]:
                search = domains
    options += os.environ.get("RES_OPTIONS", "").split()
    search = os.environ.get("LOCALDOMAIN", "").split() or search
    return Resolver(
        tuple(servers[:_SERVERS_AT_MOST]) or ("127.0.0.1",),
        _number(options, "timeout", _TIMEOUT, _TIMEOUT_AT_MOST),
        _number(options, "attempts", _ATTEMPTS, _ATTEMPTS_AT_MOST),
        tuple(domain for domain in search if domain.strip(".")),
    )


def _is_address(text: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(text.partition("%")[0]))
    return False


def _number(options: Iterable[str], name: str, default: int, most: int) -> int:
    """The value of the last option of that name."""
    values = [default, *_values(options, f"{name}:")]
    return max(1, min(values[-1], most))


def _values(options: Iterable[str], prefix: str) -> Iterator[int]:
    for option in options:
        if option.startswith(prefix) and option[len(prefix) :].isdecimal():
            yield int(option[len(prefix) :])


_hosts: Final = _File(HOSTS, _names)
_resolv_conf: Final = _File(RESOLV_CONF, _settings)


def is_listed(name: str) -> bool:
    """Whether the hosts file has a name. It blocks: the file may be long."""
    return name.lower() in _hosts.says()


def resolver_in_force() -> Resolver:
    """How the system's resolver asks now, as far as a file says."""
    return _resolv_conf.says() if sys.platform == "linux" else Resolver()
