"""The accounts that a service can run as, and the identifier (SID) that Windows makes of a service's name. Pure."""

from __future__ import annotations

import hashlib
import struct
from typing import Final

NETWORK_SERVICE: Final = r"NT AUTHORITY\NetworkService"
SYSTEM: Final = "LocalSystem"
_ALIASES: Final = {
    "networkservice": NETWORK_SERVICE,
    "network service": NETWORK_SERVICE,
    "localservice": r"NT AUTHORITY\LocalService",
    "local service": r"NT AUTHORITY\LocalService",
    "localsystem": SYSTEM,
    "system": SYSTEM,
}
_PREFIXES: Final = ("nt authority\\", ".\\")
_VIRTUAL: Final = "nt service\\"


def account_named(name: str) -> str:
    """An account as the service manager spells it: the system's own by any of their names, others as they stand."""
    bare = name.lower()
    for prefix in _PREFIXES:
        bare = bare.removeprefix(prefix)
    return _ALIASES.get(bare, name)


def is_built_in(account: str) -> bool:
    """Whether it is one of the system's own accounts, which may run a service and have no password."""
    return account in _ALIASES.values()


def is_virtual(account: str) -> bool:
    """Whether it is the one that Windows makes for a service."""
    return account.lower().startswith(_VIRTUAL)


def has_password(account: str) -> bool:
    """Whether somebody must know a password: not for the system's, a service's own, and managed accounts (`NAME$`)."""
    return not (is_built_in(account) or is_virtual(account) or account.endswith("$"))


def empty_password(account: str) -> str | None:
    """What the service manager wants in place of a password that there is not: of the system's accounts an empty one.

    https://learn.microsoft.com/en-us/windows/win32/api/winsvc/nf-winsvc-changeserviceconfigw
    """
    return "" if is_built_in(account) else None


def qualified(account: str, computer: str) -> str:
    """With the name of this computer for the dot that stands for it, which the service manager alone understands."""
    return f"{computer}{account.removeprefix('.')}" if account.startswith(".\\") else account


def service_sid(name: str) -> str:
    """The identifier that a service's processes carry whatever their account is.

    S-1-5-80 and the SHA-1 of the name in capital letters, as `sc.exe showsid` prints it.
    """
    digest = hashlib.sha1(name.upper().encode("utf-16-le"), usedforsecurity=False).digest()
    return "-".join(("S-1-5-80", *map(str, struct.unpack("<5I", digest))))
