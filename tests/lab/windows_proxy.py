"""Give Windows a proxy, in the place and form where Windows itself keeps it, and say what the exporter finds there.

For the Python of the bundle. Argument: a JSON file of settings, each {"machine": [...], "account": [...]}: proxies,
exceptions, and for the account the URL of a PAC file and whether one is looked for; null: nothing is set. The last one
stays. Writes what was found for each as JSON.
"""

from __future__ import annotations

import json
import struct
import sys
import winreg
from contextlib import suppress
from pathlib import Path
from typing import Any

from exporter.model.vocabulary import SystemProxy
from exporter.proxies.winhttp import held

KEY = r"Software\Microsoft\Windows\CurrentVersion\Internet Settings\Connections"
MANUAL, BY_FILE, DETECTS = 0x2, 0x4, 0x8  # beside 0x1, which is always there


def texts(*parts: str) -> bytes:
    return b"".join(struct.pack("<I", len(part)) + part.encode("ascii") for part in parts)


def machine(proxies: str, exceptions: str) -> bytes:
    """WinHttpSettings, as `netsh winhttp set proxy` writes it."""
    return struct.pack("<III", 0x18, 0, 0x3 if proxies else 0x1) + texts(proxies, exceptions)


def account(proxies: str, exceptions: str, pac: str, detects: bool) -> bytes:
    """DefaultConnectionSettings, as Internet Options write it."""
    flags = 0x1 | (MANUAL if proxies else 0) | (BY_FILE if pac else 0) | (DETECTS if detects else 0)
    return struct.pack("<III", 0x46, 1, flags) + texts(proxies, exceptions, pac) + bytes(32)


def write(root: int, name: str, value: bytes | None) -> None:
    with winreg.CreateKey(root, KEY) as key:  # type: ignore[attr-defined] # of Windows
        if value is not None:
            winreg.SetValueEx(key, name, 0, winreg.REG_BINARY, value)  # type: ignore[attr-defined]
            return
        with suppress(FileNotFoundError):
            winreg.DeleteValue(key, name)  # type: ignore[attr-defined]


found: list[dict[str, Any]] = []
for setting in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
    for_machine, for_account = setting["machine"], setting["account"]
    write(winreg.HKEY_LOCAL_MACHINE, "WinHttpSettings", machine(*for_machine) if for_machine else None)  # type: ignore[attr-defined]
    write(winreg.HKEY_CURRENT_USER, "DefaultConnectionSettings", account(*for_account) if for_account else None)  # type: ignore[attr-defined]
    found.append({where: held(where)._asdict() for where in SystemProxy})
json.dump(found, sys.stdout)
