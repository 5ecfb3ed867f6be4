"""Ask Windows for its proxy: the documented functions of winhttp.dll, for the machine or for our account."""

from __future__ import annotations

import sys
from typing import Final, NamedTuple

from exporter.model.vocabulary import SystemProxy


class Held(NamedTuple):
    """What Windows holds, as it is written there; None: not set."""

    proxies: str | None = None
    exceptions: str | None = None
    pac: str | None = None  # the URL of a PAC file
    detects: bool = False  # whether a PAC file is looked for in the network (WPAD)


class NotWindows(Exception):
    """There is nothing to ask."""


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    class _Machine(ctypes.Structure):  # WINHTTP_PROXY_INFO
        _fields_ = (("access", wintypes.DWORD), ("proxies", ctypes.c_void_p), ("exceptions", ctypes.c_void_p))

    class _Account(ctypes.Structure):  # WINHTTP_CURRENT_USER_IE_PROXY_CONFIG
        _fields_ = (
            ("detects", wintypes.BOOL),
            ("pac", ctypes.c_void_p),
            ("proxies", ctypes.c_void_p),
            ("exceptions", ctypes.c_void_p),
        )

    _AUTOMATIC = 4  # WINHTTP_ACCESS_TYPE_AUTOMATIC_PROXY
    _NOT_FOUND: Final = frozenset({2, 3, 12180})  # ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND, no settings at all

    def held(where: SystemProxy) -> Held:
        """What Windows holds now. Raises OSError in Windows' words."""
        winhttp = ctypes.WinDLL("winhttp", use_last_error=True)
        if where is SystemProxy.WINHTTP:
            machine = _Machine()
            _ask(winhttp.WinHttpGetDefaultProxyConfiguration, machine)
            texts = _text(machine.proxies), _text(machine.exceptions)
            return Held(*texts, detects=machine.access == _AUTOMATIC)
        account = _Account()
        _ask(winhttp.WinHttpGetIEProxyConfigForCurrentUser, account)
        texts = _text(account.proxies), _text(account.exceptions)
        return Held(*texts, pac=_text(account.pac), detects=bool(account.detects))

    def _ask(function: ctypes._NamedFuncPointer, into: ctypes.Structure) -> None:
        function.restype = wintypes.BOOL
        if not function(ctypes.byref(into)) and (code := ctypes.get_last_error()) not in _NOT_FOUND:
            raise OSError(None, ctypes.FormatError(code).strip(), None, code)

    def _text(pointer: int | None) -> str | None:
        """The text that a pointer leads to, whose memory is ours to give back."""
        if not pointer:
            return None
        text = ctypes.wstring_at(pointer)
        ctypes.WinDLL("kernel32").GlobalFree(ctypes.c_void_p(pointer))
        return text or None

else:

    def held(where: SystemProxy) -> Held:
        """Raises NotWindows."""
        raise NotWindows(f"{where} is read on Windows only")
