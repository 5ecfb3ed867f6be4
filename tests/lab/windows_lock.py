"""Have a file open as an editor does that lets nobody else read it, until another is there. For the bundle's Python."""

import ctypes
import sys
import time
from pathlib import Path

_GENERIC_READ = 0x80000000
_OPEN_EXISTING = 3
_INVALID_HANDLE = ctypes.c_void_p(-1).value

kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined] # of Windows
kernel.CreateFileW.restype = ctypes.c_void_p
locked, begun, ended = sys.argv[1:]
if kernel.CreateFileW(locked, _GENERIC_READ, 0, None, _OPEN_EXISTING, 0, None) == _INVALID_HANDLE:
    sys.exit("the file cannot be opened")
Path(begun).touch()
while not Path(ended).exists():
    time.sleep(0.1)
