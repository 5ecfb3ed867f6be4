"""A log whose reader may stop reading: lines wait for a thread that writes them, and too many are dropped."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from exporter.text.numbers import plural

MOST_WAITING: Final = 1 << 20  # characters of lines that wait; as many may be under way to the reader
WRITTEN_WITHIN: Final = 2.0  # seconds that the end waits for a reader
_AGAIN: Final = 0.05  # seconds until what takes nothing now is asked again


class LogQueue(logging.Handler):
    """Takes lines without waiting for whoever reads them; a daemon thread writes them.

    Lines that are dropped, or that cannot be written, are counted, and one line in their place says how many they were.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        """`write` writes one line, and adds its end; it may take for ever, and may raise OSError."""
        super().__init__()
        self.dropped = 0
        self._write = write
        self._lines: list[str] = []
        self._waiting = 0  # characters
        self._unreported = 0  # dropped lines
        self._writing = False
        self._patient = True
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line, or count it as dropped."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - as of every handler: a line that cannot be written ends nothing
            self.handleError(record)
            return
        with self._changed:
            if self._lines and self._waiting + len(line) > MOST_WAITING:
                self.dropped += 1
                self._unreported += 1
                return
            self._lines.append(line)
            self._waiting += len(line)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until every line is written, at most WRITTEN_WITHIN seconds in all calls together."""
        with self._changed:
            self._patient = self._changed.wait_for(lambda: self.idle, WRITTEN_WITHIN if self._patient else 0.0)

    @property
    def idle(self) -> bool:
        """Whether every line is written."""
        return not (self._lines or self._unreported or self._writing)

    def _run(self) -> None:
        lost = 0
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines or self._unreported)
                self._writing = True
                lines, self._lines, self._waiting = self._lines, [], 0
                lost, self._unreported = lost + self._unreported, 0
            unwritten = sum(not self._written(line) for line in lines)
            with self._changed:
                self.dropped += unwritten
            lost += unwritten
            if lost and self._written(self._report(lost)):
                lost = 0

    def _written(self, line: str) -> bool:
        try:
            self._write(line)
        except Exception:  # noqa: BLE001 - a full disk, a reader that has gone: nobody is left to be informed
            return False
        return True

    def _report(self, lost: int) -> str:
        what = f"{plural(lost, 'line')} {'was' if lost == 1 else 'were'}"
        said = f"{what} dropped, since the log was not read or could not be written"
        return self.format(logging.LogRecord("exporter", logging.WARNING, "", 0, said, (), None))


class _Unbuffered:
    """Writes lines to a stream past its buffer, whose lock the end of the interpreter would wait for."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._raw: Any = getattr(stream.buffer, "raw", stream.buffer)
        self._encoding, self._errors = stream.encoding, stream.errors or "strict"
        self._rest = b""  # of a line for which there was no room

    def __call__(self, line: str) -> None:
        """Write a line. Raises OSError if nothing of it could be written; the rest of a part comes with the next."""
        before = len(self._rest)
        data = self._rest + f"{line}{os.linesep}".encode(self._encoding, self._errors)
        sent = 0
        try:
            while sent < len(data):
                took = self._raw.write(data[sent:])
                if took is None:  # somebody who shares the stream has it not wait
                    time.sleep(_AGAIN)
                sent += took or 0
        except Exception:  # OSError, or by what other name the command line calls it
            if sent <= before:
                self._rest = self._rest[sent:]
                raise
        self._rest = data[sent:]


def queue_for_stderr() -> LogQueue:
    """A queue of lines for stderr, as it is now; nobody misses them where it is closed."""
    stream = sys.stderr
    if isinstance(stream, io.TextIOWrapper):
        return LogQueue(_Unbuffered(stream))
    return LogQueue(lambda line: stream and stream.write(f"{line}\n"))


def queue_for(handler: logging.Handler) -> LogQueue:
    """A queue of lines for another handler, such as one that writes to a file."""
    return LogQueue(lambda line: handler.emit(logging.makeLogRecord({"msg": line})))


def queues() -> list[LogQueue]:
    """Those that the log goes through now: one, or none where it is written at once."""
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, LogQueue)]


def dropped() -> int:
    """How many lines were dropped since the start."""
    return sum(queue.dropped for queue in queues())


def flush() -> bool:
    """Wait for the reader of the log, but not for long; whether every line is written."""
    for queue in queues():
        queue.flush()
    return all(queue.idle for queue in queues())
