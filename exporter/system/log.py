"""Log lines on stderr or in a file: logfmt or JSON, one event each, with fields."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType

import structlog
from structlog.typing import EventDict, Processor

from exporter.text.printable import escaped


class LogFormat(StrEnum):
    """How a line is written."""

    LOGFMT = "logfmt"
    JSON = "json"


class LogLevel(StrEnum):
    """From which level on lines are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _printable(_: object, __: str, event: EventDict) -> EventDict:
    """Escape what does not print, so that a stranger's words cannot steer the terminal that shows the log."""
    return {key: escaped(value, keep="\n") if isinstance(value, str) else value for key, value in event.items()}


def _without_traceback(_: object, __: str, event: EventDict) -> EventDict:
    """An error in one line, with the place it comes from: by a traceback of some KB anybody could fill the log."""
    given = event.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else given if isinstance(given, BaseException) else sys.exc_info()[1]
    if given and error:
        event["error"] = described(error)
    return event


def described(error: BaseException) -> str:
    """An error in words, and where it comes from; of a group, which only says that there are some, each of them."""
    return ", ".join(f"{type(each).__name__}: {each}{_place(each.__traceback__)}" for each in _parts(error))


def _parts(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _parts(each)
    else:
        yield error


def _place(raised: TracebackType | None) -> str:
    if raised is None:
        return ""
    last = traceback.extract_tb(raised, limit=-1)[0]
    return f" ({'/'.join(Path(last.filename).parts[-2:])}:{last.lineno})"


class _RotatingFile(RotatingFileHandler):
    """A file that grows on as long as somebody holds it open: Windows renames no such file."""

    def doRollover(self) -> None:  # noqa: N802 - the library's name
        """Begin a new file, if the full one can be renamed.

        It is renamed before the earlier files make room, as the library does not: each line that comes while somebody
        holds it would cost one of them.
        """
        if self.stream is not None:
            self.stream.close()
        file = Path(self.baseFilename)
        full = file.with_name(f"{file.name}.full")
        with suppress(OSError):
            file.replace(full)
            try:
                for number in range(self.backupCount, 1, -1):
                    with suppress(FileNotFoundError):
                        file.with_name(f"{file.name}.{number - 1}").replace(file.with_name(f"{file.name}.{number}"))
                full.replace(file.with_name(f"{file.name}.1"))
            except OSError:  # somebody holds an earlier file
                full.replace(file)
        self.stream = self._open()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - the library's names
        """Let who writes know that a line is lost."""
        raise  # noqa: PLE0704 - called while the error is handled


def rotating(file: Path, size: int, files: int) -> logging.Handler:
    """Write to a file of at most so many bytes, beside so many files of earlier lines. Raises OSError."""
    return _RotatingFile(file, maxBytes=size, backupCount=files - 1, encoding="utf-8")


def configure(level: LogLevel, form: LogFormat, handler: logging.Handler | None = None) -> None:
    """Send our own events and those of the libraries through one formatter; to stderr, if nowhere else is named."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.EventRenamer("msg"),
    ]
    last: list[Processor] = (
        [structlog.processors.JSONRenderer()]
        if form is LogFormat.JSON
        else [
            _printable,
            structlog.processors.LogfmtRenderer(key_order=["ts", "level", "logger", "msg"], drop_missing=True),
        ]
    )
    handler = handler or logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info if level is LogLevel.DEBUG else _without_traceback,
                *last,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.raiseExceptions = False  # on a full disk each lost line would leave a traceback once there is room
    # one line for each probe, and fields of requests; of spnego tokens, which can be attacked offline
    for chatty in ("httpx", "httpcore", "spnego"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # a line for each piece of garbage that a scanner sends
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
