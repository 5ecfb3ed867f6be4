"""The service's folder: made where there is none, and opened only to those who need it. Windows only."""

# ruff: noqa: E402 - other systems lack what is imported

from __future__ import annotations

import sys

assert sys.platform == "win32"  # noqa: S101 - mypy, too, reads on only there

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import ntsecuritycon
import pywintypes  # before what is built in C, which finds its DLL by it
import win32api
import win32security

from exporter.system.windows_service.accounts import service_sid
from exporter.system.windows_service.command import NAME

Sid: TypeAlias = Any

ADMINISTRATORS: Final = "S-1-5-32-544"
SYSTEM: Final = "S-1-5-18"
TRUSTED_INSTALLER: Final = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
EVERYBODY: Final = {"S-1-1-0": "Everyone", "S-1-5-11": "Authenticated Users", "S-1-5-32-545": "Users"}
INHERITED: Final = win32security.OBJECT_INHERIT_ACE | win32security.CONTAINER_INHERIT_ACE
READ: Final = ntsecuritycon.FILE_GENERIC_READ | ntsecuritycon.FILE_GENERIC_EXECUTE
CHANGE: Final = READ | ntsecuritycon.FILE_GENERIC_WRITE | ntsecuritycon.DELETE
ALTER: Final = (
    ntsecuritycon.FILE_ADD_FILE
    | ntsecuritycon.FILE_ADD_SUBDIRECTORY
    | ntsecuritycon.FILE_DELETE_CHILD
    | ntsecuritycon.DELETE
    | ntsecuritycon.WRITE_DAC
    | ntsecuritycon.WRITE_OWNER
)
ALLOWED: Final = win32security.ACCESS_ALLOWED_ACE_TYPE


class FolderError(Exception):
    """A folder that cannot be used, and what to do."""


def data_folder() -> Path:
    """Where the service's configuration and log are."""
    return Path(os.environ["ProgramData"], NAME)  # noqa: SIM112 - as Windows writes it


def made(folder: Path, log_folder: Path) -> None:
    """Make both, if need be. The service may read the one and write the other; others than administrators may nothing.

    It is known by an identifier of its own, whatever its account: what runs as the same one may nothing here. A folder
    for the log that lies elsewhere is left as it is. Raises FolderError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        refuse_strangers(folder)
        log_folder.mkdir(parents=True, exist_ok=True)
        _open_only_to(folder, READ)
        if log_folder.is_relative_to(folder):
            _open_only_to(log_folder, CHANGE)
    except OSError as error:
        raise FolderError(f"{error.filename}: {error.strerror}") from None
    except pywintypes.error as error:
        raise FolderError(f"{folder}: its access cannot be set: {error.strerror}") from None


def _open_only_to(folder: Path, rights: int) -> None:
    """Give the service these rights in a folder and what is in it, administrators all, and nobody what it inherits."""
    everything = ntsecuritycon.FILE_ALL_ACCESS
    entries = ((ADMINISTRATORS, everything), (SYSTEM, everything), (service_sid(NAME), rights))
    allowed = win32security.ACL()
    for sid, may in entries:
        known = win32security.ConvertStringSidToSid(sid)
        allowed.AddAccessAllowedAceEx(win32security.ACL_REVISION, INHERITED, may, known)
    what = win32security.DACL_SECURITY_INFORMATION | win32security.PROTECTED_DACL_SECURITY_INFORMATION
    what |= win32security.OWNER_SECURITY_INFORMATION
    owner = win32security.ConvertStringSidToSid(
        ADMINISTRATORS
    )  # so that another administrator may install it next time
    win32security.SetNamedSecurityInfo(str(folder), win32security.SE_FILE_OBJECT, what, owner, None, allowed, None)


def refuse_strangers(path: Path) -> None:
    """Raises FolderError for what a user made who is no administrator: in ProgramData anybody may make a folder.

    Its owner could change what the service reads, whatever access others are given.
    """
    what = win32security.OWNER_SECURITY_INFORMATION
    owner = win32security.GetNamedSecurityInfo(
        str(path), win32security.SE_FILE_OBJECT, what
    ).GetSecurityDescriptorOwner()
    if win32security.ConvertSidToStringSid(owner) not in {ADMINISTRATORS, SYSTEM, TRUSTED_INSTALLER, _own_sid()}:
        raise FolderError(
            f"{path} belongs to {_name_of(owner)}, who could change what the service reads. Look at it; then remove it,"
            f' or give it to administrators: takeown /A /R /F "{path}", icacls "{path}" /reset /T'
        )


def who_may_alter(folder: Path) -> list[str]:
    """Which of the groups to which every user belongs may put files into a folder, or exchange them."""
    what = win32security.DACL_SECURITY_INFORMATION
    with suppress(pywintypes.error):
        entries = win32security.GetNamedSecurityInfo(
            str(folder), win32security.SE_FILE_OBJECT, what
        ).GetSecurityDescriptorDacl()
        found = [entries.GetAce(number) for number in range(entries.GetAceCount())] if entries else []
        return sorted(
            {
                EVERYBODY[sid]
                for (kind, flags), rights, who, *_ in found
                if kind == ALLOWED and rights & ALTER and not flags & win32security.INHERIT_ONLY_ACE
                if (sid := win32security.ConvertSidToStringSid(who)) in EVERYBODY
            }
        )
    return []


def _own_sid() -> str:
    token = win32security.OpenProcessToken(win32api.GetCurrentProcess(), win32security.TOKEN_QUERY)
    sid, _ = win32security.GetTokenInformation(token, win32security.TokenUser)
    return str(win32security.ConvertSidToStringSid(sid))


def _name_of(sid: Sid) -> str:
    with suppress(pywintypes.error):
        name, domain, _ = win32security.LookupAccountSid(None, sid)
        return f"{domain}\\{name}"
    return str(win32security.ConvertSidToStringSid(sid))
