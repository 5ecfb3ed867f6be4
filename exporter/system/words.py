"""What the system calls its error numbers."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import ctypes

    def words_of(number: int) -> str:
        """An error number in words; also Winsock's, which `os.strerror` calls unknown."""
        return ctypes.FormatError(number).strip().removesuffix(".")

else:

    def words_of(number: int) -> str:
        """An error number in words."""
        return os.strerror(number)
