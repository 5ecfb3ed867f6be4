"""What the service manager of Windows starts: it answers the manager at once, and then serves.

The manager waits 30 seconds for that answer, and at the start of a system the imports alone may take as long. So this
is run as a script that needs little, by the Python itself: the launchers of a virtual environment start another
process, which is then not the one that the manager knows. Windows only.
"""

# ruff: noqa: E402 - the script must first say where packages are

from __future__ import annotations

import sys

assert sys.platform == "win32"  # noqa: S101 - mypy, too, reads on only there

import logging
import os
import site
import threading
from contextlib import suppress
from io import TextIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Final

if __name__ == "__main__":
    site.addsitedir(str(Path(__file__).parents[1]))

import pywintypes  # before the others, which find its DLL by it
import servicemanager
import win32service
import winerror

from exporter.system.windows_service.command import DISPLAY_NAME, LOG_OPTION, NAME
from exporter.system.windows_service.words import BAD_INPUT, INTERNAL_ERROR

if TYPE_CHECKING:
    from exporter.system.control import Control

STARTS_WITHIN: Final = 120  # seconds, after which the manager gets no more reports that the start goes on
REPORT_EVERY: Final = 1.0  # seconds
HINT: Final = 10_000  # milliseconds until the manager hears more
ENDS_WITHIN: Final = 20.0  # seconds, after which it ends whatever there is still to do
LOG_SIZE: Final = 10_000_000  # bytes, of which there are so many files:
LOG_FILES: Final = 5
LONGEST_EVENT: Final = 30_000  # characters; Windows takes 31,839
ACCEPTED: Final = (
    win32service.SERVICE_ACCEPT_STOP
    | win32service.SERVICE_ACCEPT_SHUTDOWN
    | win32service.SERVICE_ACCEPT_PRESHUTDOWN
    | win32service.SERVICE_ACCEPT_PARAMCHANGE
)
ENDINGS: Final = {
    win32service.SERVICE_CONTROL_STOP,
    win32service.SERVICE_CONTROL_SHUTDOWN,
    win32service.SERVICE_CONTROL_PRESHUTDOWN,
}


class Service:
    """Answers the service manager; its methods and attribute have the names that pywin32 asks for."""

    _svc_name_ = NAME

    def __init__(self, arguments: tuple[str, ...]) -> None:
        self._handle = servicemanager.RegisterServiceCtrlHandler(arguments[0], self._controlled, True)
        self._lock = threading.Lock()
        self._check_point = 0
        self._state = win32service.SERVICE_START_PENDING
        self._settled = threading.Event()
        self._asked_to_end = False
        self._control: Control | None = None

    def SvcRun(self) -> None:  # noqa: N802 - pywin32's name
        """Serve until asked to end; this ends the process."""
        self._report(win32service.SERVICE_START_PENDING)
        threading.Thread(target=self._report_until_started, daemon=True).start()
        try:
            status, said = self._serve()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the manager must hear of the end
            status, said = INTERNAL_ERROR, f"{type(error).__name__}: {error}"
        self._end(status, said)

    def _serve(self) -> tuple[int, str]:
        """The exit status of `serve`, and what it said to a person."""
        from exporter import cli  # noqa: PLC0415 - seconds, in which the manager has heard of us
        from exporter.daemon import Host  # noqa: PLC0415
        from exporter.system.control import Control  # noqa: PLC0415
        from exporter.system.log import LogFormat, LogLevel, configure, rotating  # noqa: PLC0415
        from exporter.system.log_queue import queue_for  # noqa: PLC0415

        option, log_file, *options = sys.argv[1:]
        if option != LOG_OPTION:
            raise ValueError(f"{option} in place of {LOG_OPTION}: this is started by `service start`")
        try:
            log = queue_for(rotating(Path(log_file), LOG_SIZE, LOG_FILES))
        except OSError as error:
            return BAD_INPUT, f"{log_file} cannot be written: {error.strerror}"
        configure(LogLevel.INFO, LogFormat.LOGFMT, log)
        said = _Said()
        sys.stdout = sys.stderr = said
        sys.argv = [sys.argv[0], "serve", *options]
        self._control = Control()
        try:
            cli.main(Host(self._control, self._listening, log, lambda status: self._end(status, said.text)))
        except SystemExit as ended:
            return int(ended.code or 0), said.text
        return 0, said.text

    def _listening(self, addresses: str) -> None:
        self._report(win32service.SERVICE_RUNNING)
        with suppress(pywintypes.error):  # an event log that is full or does not run ends nothing
            servicemanager.LogInfoMsg(f"{DISPLAY_NAME} listens on {addresses}.")

    def _controlled(self, control: int, _kind: int, _data: object) -> None:
        """What the manager says, on a thread of its own."""
        if control in ENDINGS:
            self._asked_to_end = True
            self._report(win32service.SERVICE_STOP_PENDING)
            last = threading.Timer(ENDS_WITHIN, self._end, (INTERNAL_ERROR, f"did not end within {ENDS_WITHIN:.0f} s"))
            last.daemon = True
            last.start()
            self._ask("END")
        elif control == win32service.SERVICE_CONTROL_PARAMCHANGE:
            self._ask("RELOAD")

    def _ask(self, what: str) -> None:
        from exporter.system.control import Request  # noqa: PLC0415 - imported long since

        if self._control is not None:
            self._control.ask(Request[what])

    def _report_until_started(self) -> None:
        """Report to the manager that the start goes on, until it is over."""
        for _ in range(int(STARTS_WITHIN / REPORT_EVERY)):
            if self._settled.wait(REPORT_EVERY):
                break
            self._report(win32service.SERVICE_START_PENDING)

    def _report(self, state: int, exit_code: int = 0, status: int = 0) -> None:
        with self._lock:
            if state == win32service.SERVICE_START_PENDING and self._settled.is_set():
                return
            pending = state in {win32service.SERVICE_START_PENDING, win32service.SERVICE_STOP_PENDING}
            self._check_point = self._check_point + 1 if pending else 0
            accepted = ACCEPTED if state == win32service.SERVICE_RUNNING else 0
            hint = int(ENDS_WITHIN * 1000) if state == win32service.SERVICE_STOP_PENDING else HINT if pending else 0
            kind = win32service.SERVICE_WIN32_OWN_PROCESS
            with suppress(pywintypes.error):  # nobody listens any more
                win32service.SetServiceStatus(
                    self._handle, (kind, state, accepted, exit_code, status, self._check_point, hint)
                )
            if state != win32service.SERVICE_START_PENDING:
                self._settled.set()

    def _end(self, status: int, said: str) -> None:
        """Report how it ended, in the logs and to the manager, and end the process.

        Not by returning: pywin32 would then report an end of its own, always in order.
        """
        with suppress(Exception):  # a full disk, a full event log
            if status:
                logging.getLogger("exporter").error("ended with status %d", status)
                servicemanager.LogErrorMsg(f"{DISPLAY_NAME} ended with status {status}.\n\n{said}"[:LONGEST_EVENT])
            else:
                logging.getLogger("exporter").info("ended")
                servicemanager.LogInfoMsg(f"{DISPLAY_NAME} ended in order.")
        for handler in logging.getLogger().handlers:
            handler.flush()  # a queue, which does not wait for ever
        if self._asked_to_end:  # however badly: with a status, the manager would start it again
            self._report(win32service.SERVICE_STOPPED)
        else:
            exit_code = winerror.ERROR_SERVICE_SPECIFIC_ERROR if status else 0
            self._report(win32service.SERVICE_STOPPED, exit_code, status)
        os._exit(status)


class _Said(TextIOBase):
    """Takes what is printed, into the log line by line; and keeps the beginning of it."""

    def __init__(self) -> None:
        self.text = ""
        self._rest = ""

    def write(self, text: str) -> int:
        """Take a piece."""
        import structlog  # noqa: PLC0415 - imported long since

        self.text = (self.text + text)[:LONGEST_EVENT]
        *lines, self._rest = (self._rest + text).split("\n")
        for line in filter(None, map(str.rstrip, lines)):
            structlog.get_logger("exporter").error(line)
        return len(text)


def main() -> None:
    """Answer the service manager, which must have started this process."""
    servicemanager.Initialize(NAME, None)
    servicemanager.PrepareToHostSingle(Service)
    try:
        servicemanager.StartServiceCtrlDispatcher()
    except pywintypes.error as error:
        if error.winerror != winerror.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT:
            raise
        sys.exit("this is run by the service manager: configmgr-endpoint-exporter service start")


if __name__ == "__main__":
    main()
