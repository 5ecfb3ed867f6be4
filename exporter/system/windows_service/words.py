"""What the service manager says in numbers, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from exporter.system.windows_service.command import DISPLAY_NAME, NAME

STOPPED: Final = 1
RUNNING: Final = 4
STATES: Final = {1: "stopped", 2: "starting", 3: "stopping", 4: "running", 5: "resuming", 6: "pausing", 7: "paused"}
BOOT, SYSTEM_START, AUTOMATIC, MANUAL, DISABLED = range(5)
START_TYPES: Final = {AUTOMATIC: "automatic", MANUAL: "manual", DISABLED: "disabled"}

SPECIFIC: Final = 1066  # ERROR_SERVICE_SPECIFIC_ERROR: the service's own status stands beside it
NEVER_STARTED: Final = 1077
INTERNAL_ERROR: Final = 70
BAD_INPUT: Final = 2
_STATUSES: Final = {
    BAD_INPUT: "what was written cannot be used: the log says which file, line and key",
    INTERNAL_ERROR: "a defect of the exporter: the log says where",
}
ABRUPT: Final = 1067  # ERROR_PROCESS_ABORTED
_AGAIN: Final = "`service status` shows where it was; `service install` from where it is now corrects that"
_ENDS: Final = {
    0: "ended in order",
    ABRUPT: "its process ended without a word",
    NEVER_STARTED: "not started since the system was",
    1053: "its process did not answer the service manager in time",
    1069: "the account could not log on: its password, or its right to log on as a service",
    5: "access denied: the service's account cannot read the program's folder",
    2: f"the program's file was not found. {_AGAIN}",
    3: f"the program's folder was not found. {_AGAIN}",
}
_UNREADABLE: Final = frozenset({2, 3, 5})

ACCESS_DENIED: Final = 5
NO_SUCH_SERVICE: Final = 1060
ALREADY_RUNNING: Final = 1056
NOT_ACTIVE: Final = 1062
NO_SUCH_LEVEL: Final = 124  # of ChangeServiceConfig2
NO_SUCH_ACCOUNT: Final = 1332
_REFUSALS: Final = {
    ACCESS_DENIED: 'access denied. Open PowerShell by "Run as administrator" and type it again.',
    NO_SUCH_SERVICE: "it is not installed. `service install` installs it.",
    1058: "it is disabled. `Set-Service {name} -StartupType Automatic` enables it.",
    1053: "its process did not answer in time. The event log (Application) may say why.",
    1057: "there is no such account, or its password is wrong.",
    1061: "it is starting or stopping just now. Wait for it, and type it again.",
    1069: "the account could not log on. Type `service install --account` again with its password.",
    1072: "it was removed, but a program still holds it. Close services.msc and the Task Manager, and type it again.",
    NO_SUCH_ACCOUNT: "there is no such account. Give DOMAIN\\NAME, DOMAIN\\NAME$ for a managed one, or NetworkService.",
}


def refusal(did: str, code: int, system_says: str) -> str:
    """Why the service manager did not do something, and what to do. `did`: as in `cannot start the service`."""
    known = _REFUSALS.get(code)
    why = known.format(name=NAME) if known else f"{system_says.rstrip('. ')} (error {code})."
    return f"cannot {did}: {why}"


def not_started(code: int, system_says: str) -> str:
    """Why Windows did not start the process of a service that the caller may start."""
    if code in _UNREADABLE:
        return f"the service did not start: {_ENDS[code]}"
    return refusal("start the service", code, system_says)


def ended(exit_code: int, status: int) -> str:
    """How a service that does not run has ended. `status`: its own, where the exit code says that there is one."""
    if exit_code == SPECIFIC:
        return f"status {status}: {_STATUSES.get(status, 'it ended by itself: the log says why')}"
    return _ENDS.get(exit_code, f"Windows error {exit_code}; `net helpmsg {exit_code}` says it in words")


@dataclass(frozen=True, slots=True)
class Condition:
    """What is known of the installed service."""

    state: int
    process: int
    exit_code: int
    status: int
    account: str
    start_type: int
    delayed: bool
    command: str

    def lines(self, addresses: str, configuration: str, log_file: str) -> list[tuple[str, str]]:
        """Each fact under its name, for people and programs."""
        start = START_TYPES.get(self.start_type, str(self.start_type)) + (", delayed" if self.delayed else "")
        return [
            ("service", f"{NAME} ({DISPLAY_NAME})"),
            ("state", STATES.get(self.state, str(self.state))),
            *([("pid", str(self.process))] if self.process else []),
            *([("last end", ended(self.exit_code, self.status))] if self.state == STOPPED else []),
            ("account", self.account),
            ("start", start),
            ("listens on", addresses),
            *([("configuration", configuration)] if configuration else []),
            ("log", log_file),
            ("command", self.command),
        ]
