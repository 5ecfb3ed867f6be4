"""What a command writes to: a console as wide as it really is, and streams that say when they cannot be written."""

from __future__ import annotations

import codecs
import ctypes
import errno
import io
import os
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console
    from typing_extensions import Buffer

UNWRITABLE: Final = 74  # exit status: EX_IOERR of sysexits.h, which Windows lacks
CLOSED: Final = 141  # exit status: what a shell says of a program that SIGPIPE has ended
USUAL_WIDTH: Final = 80
_UNWRAPPED: Final = 1_000_000  # columns: of a file, which has no width
_HANGS_UP: Final = {errno.EPIPE, errno.ESHUTDOWN} | ({errno.EINVAL} if sys.platform == "win32" else set())


class Unwritable(Exception):
    """A stream cannot be written. No OSError, by which libraries would end the process in their own way."""

    def __init__(self, stream: str, error: OSError) -> None:
        super().__init__(f"{stream} cannot be written: {error.strerror}")
        self.status = CLOSED if error.errno in _HANGS_UP else UNWRITABLE


class _Raw(io.FileIO):
    """A descriptor of the process."""

    def __init__(self, descriptor: int, stream: str) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._stream = stream

    def write(self, data: Buffer, /) -> int:
        """Write. Raises Unwritable."""
        try:
            return super().write(data)
        except OSError as error:
            raise Unwritable(self._stream, error) from None


def prepare() -> None:
    """Make of stdout and stderr streams that write any text, and raise Unwritable where they cannot be written."""
    sys.stdout = _prepared(sys.stdout, "stdout")
    sys.stderr = _prepared(sys.stderr, "stderr")


def _prepared(stream: TextIO, name: str) -> TextIO:
    if type(stream) is not io.TextIOWrapper:  # none at all, as of a service; or a test's
        return stream
    # A narrow code page, as on Windows, must not stop a report.
    stream.reconfigure(encoding=None if stream.isatty() else _console_encoding(), errors="backslashreplace")
    if type(getattr(stream.buffer, "raw", stream.buffer)) is not io.FileIO:  # a console of Windows
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Raw(stream.fileno(), name)),
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering or stream.write_through,
    )


def abandon() -> None:
    """Let nothing be written any more, so that the interpreter's end does not complain of what is still buffered."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())


def _console_encoding() -> str | None:
    """How PowerShell reads what a command writes into a pipe or a file: by the code page of its console.

    Python writes by that of the system. None: as Python does, where there is no console or no such difference.
    """
    if sys.platform == "win32":
        return encoding_of(ctypes.windll.kernel32.GetConsoleOutputCP())
    return None


def encoding_of(page: int) -> str | None:
    """What Python calls a code page. None: it does not know it, or there is no console."""
    try:
        return codecs.lookup(f"cp{page}").name
    except LookupError:
        return None


# ---------------------------------------------------------------- consoles


def console(*, stderr: bool = False) -> Console:
    """The console of a terminal by its width; of a file or a pipe one that neither wraps nor pads."""
    from rich.console import Console  # noqa: PLC0415 - it takes longer than many a command

    stream = (sys.stderr if stderr else sys.stdout) or io.StringIO()  # none at all, as of a service
    if stream.isatty():
        columns = os.environ.get("COLUMNS", "")
        return Console(stderr=stderr, width=USUAL_WIDTH if columns.isdecimal() and not int(columns) else None)
    return Console(file=cast("IO[str]", _Unpadded(stream)), width=_UNWRAPPED)


class _Unpadded(io.TextIOBase):
    """Writes on to a stream, without the blanks that end a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream."""
        return self._stream.encoding

    def write(self, text: str, /) -> int:
        """Write whole lines, as a console does."""
        lines = text.split("\n")
        self._stream.write("\n".join([*(line.rstrip(" ") for line in lines[:-1]), lines[-1]]))
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()
