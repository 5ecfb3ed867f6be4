"""What the system calls its error numbers."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import ctypes

    def words_of(number: int) -> str:
        """An error number in words; also Winsock's, which `os.strerror` calls unknown."""
        return ctypes.FormatError(number).strip().removesuffix(".")

    def error_of(number: int) -> OSError:
        """The error of a number of Winsock; `errno` is what others call it, such as EACCES for WSAEACCES."""
        return OSError(None, words_of(number), None, number)

else:

    def words_of(number: int) -> str:
        """An error number in words."""
        return os.strerror(number)

    def error_of(number: int) -> OSError:
        """The error of a number."""
        return OSError(number, words_of(number))
