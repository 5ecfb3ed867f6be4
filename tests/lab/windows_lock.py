"""Have a file open until another one is there, and let others read it meanwhile or not. For the Python of the bundle.

usage: python windows_lock.py FILE SHARE BEGUN ENDED; SHARE is a number as CreateFile takes it. BEGUN is made by this.
"""

import ctypes
import sys
import time
from pathlib import Path

_GENERIC_READ = 0x80000000
_OPEN_EXISTING = 3
_INVALID_HANDLE = ctypes.c_void_p(-1).value

kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined] # of Windows
kernel.CreateFileW.restype = ctypes.c_void_p
locked, share, begun, ended = sys.argv[1:]
if kernel.CreateFileW(locked, _GENERIC_READ, int(share), None, _OPEN_EXISTING, 0, None) == _INVALID_HANDLE:
    sys.exit("the file cannot be opened")
Path(begun).touch()
while not Path(ended).exists():
    time.sleep(0.1)
