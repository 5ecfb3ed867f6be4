"""Install, start, stop, look at and remove the service, by the service manager. Windows only."""

# ruff: noqa: E402 - other systems lack what is imported

from __future__ import annotations

import sys

assert sys.platform == "win32"  # noqa: S101 - mypy, too, reads on only there

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import ntsecuritycon
import pywintypes  # before what is built in C, which finds its DLL by it
import servicemanager
import win32api
import win32evtlogutil
import win32security
import win32service

from exporter.system.windows_service import words
from exporter.system.windows_service.accounts import is_built_in, is_virtual, qualified
from exporter.system.windows_service.command import DESCRIPTION, DISPLAY_NAME, NAME
from exporter.system.windows_service.words import Condition

Handle: TypeAlias = Any

UNCHANGED: Final = win32service.SERVICE_NO_CHANGE
RESTART: Final = ((win32service.SC_ACTION_RESTART, 10_000), (win32service.SC_ACTION_RESTART, 60_000))
RESTART_LATER: Final = (win32service.SC_ACTION_RESTART, 300_000)  # milliseconds; again and again
FORGET_FAILURES_AFTER: Final = 86_400  # seconds
PRESHUTDOWN_WITHIN: Final = 10_000  # milliseconds
LOOK_EVERY: Final = 0.25  # seconds
NO_PROGRESS_FOR: Final = 30.0  # seconds, after which a service that starts or stops is said to hang


class ServiceError(Exception):
    """What the service manager refused, or what did not come about, in words."""


@contextmanager
def _in_words(did: str) -> Iterator[None]:
    try:
        yield
    except pywintypes.error as error:
        raise ServiceError(words.refusal(did, error.winerror, error.strerror)) from None


@contextmanager
def _manager(rights: int) -> Iterator[Handle]:
    manager = win32service.OpenSCManager(None, None, rights)
    try:
        yield manager
    finally:
        win32service.CloseServiceHandle(manager)


@contextmanager
def _service(rights: int) -> Iterator[Handle]:
    with _manager(win32service.SC_MANAGER_CONNECT) as manager:
        service = win32service.OpenService(manager, NAME, rights)
        try:
            yield service
        finally:
            win32service.CloseServiceHandle(service)


def require_rights() -> None:
    """Raises ServiceError for who may not install services."""
    with (
        _in_words("install the service"),
        _manager(win32service.SC_MANAGER_CONNECT | win32service.SC_MANAGER_CREATE_SERVICE),
    ):
        pass


def condition() -> Condition | None:
    """The installed service; None where there is none. Raises ServiceError."""
    try:
        with _service(win32service.SERVICE_QUERY_CONFIG | win32service.SERVICE_QUERY_STATUS) as service:
            return _condition(service)
    except pywintypes.error as error:
        if error.winerror == words.NO_SUCH_SERVICE:
            return None
        raise ServiceError(words.refusal("look at the service", error.winerror, error.strerror)) from None


def _condition(service: Handle) -> Condition:
    status: Any = win32service.QueryServiceStatusEx(service)  # a dict, whatever the stubs say
    _, start_type, _, command, _, _, _, account, _ = win32service.QueryServiceConfig(service)
    delayed = False
    with suppress(pywintypes.error):  # wine cannot say
        delayed = win32service.QueryServiceConfig2(service, win32service.SERVICE_CONFIG_DELAYED_AUTO_START_INFO)
    return Condition(
        state=status["CurrentState"],
        process=status["ProcessId"],
        exit_code=status["Win32ExitCode"],
        status=status["ServiceSpecificExitCode"],
        account=account,
        start_type=start_type,
        delayed=bool(delayed),
        command=command,
    )


# ---------------------------------------------------------------- install and remove


@dataclass(frozen=True, slots=True)
class Logon:
    """The account that the service shall run as, and its password where it has one."""

    account: str
    password: str | None


def install(command: str, logon: Logon | None) -> list[str]:
    """Create the service, or give the one that there is another command and, where one is given, another account.

    Returns what this system does not support, in words. Raises ServiceError.
    """
    with _in_words("install the service"):
        if logon is not None and not (is_built_in(logon.account) or is_virtual(logon.account)):
            _let_log_on(qualified(logon.account, win32api.GetComputerName()))
        with _manager(win32service.SC_MANAGER_CONNECT | win32service.SC_MANAGER_CREATE_SERVICE) as manager:
            service = _created_or_changed(manager, command, logon)
        try:
            lacking = list(_described(service))
        finally:
            win32service.CloseServiceHandle(service)
        win32evtlogutil.AddSourceToRegistry(NAME, servicemanager.__file__, "Application")
    return lacking


def _created_or_changed(manager: Handle, command: str, logon: Logon | None) -> Handle:
    account, password = (logon.account, logon.password) if logon is not None else (None, None)
    what = (win32service.SERVICE_WIN32_OWN_PROCESS, win32service.SERVICE_AUTO_START, win32service.SERVICE_ERROR_NORMAL)
    try:
        service = win32service.OpenService(manager, NAME, win32service.SERVICE_ALL_ACCESS)
    except pywintypes.error as error:
        if error.winerror != words.NO_SUCH_SERVICE:
            raise
        rights = win32service.SERVICE_ALL_ACCESS
        return win32service.CreateService(
            manager, NAME, DISPLAY_NAME, rights, *what, command, None, False, None, account, password
        )
    # How it starts is left as it is: an administrator may have set it to manual.
    kept = (what[0], UNCHANGED, what[2])
    win32service.ChangeServiceConfig(service, *kept, command, None, False, None, account, password, DISPLAY_NAME)
    return service


def _described(service: Handle) -> Iterator[str]:
    """Set the rest of the service's configuration; yields what this system does not support."""
    failures = {
        "ResetPeriod": FORGET_FAILURES_AFTER,
        "RebootMsg": "",
        "Command": "",
        "Actions": (*RESTART, RESTART_LATER),
    }
    facts: tuple[tuple[str, int, Any], ...] = (
        ("description", win32service.SERVICE_CONFIG_DESCRIPTION, DESCRIPTION),
        ("delayed start", win32service.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, True),
        ("restart on failure", win32service.SERVICE_CONFIG_FAILURE_ACTIONS, failures),
        ("restart after an end with a status", win32service.SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, True),
        ("time to end at a shutdown", win32service.SERVICE_CONFIG_PRESHUTDOWN_INFO, PRESHUTDOWN_WITHIN),
        (
            "an identifier of its own",
            win32service.SERVICE_CONFIG_SERVICE_SID_INFO,
            win32service.SERVICE_SID_TYPE_UNRESTRICTED,
        ),
    )
    for name, level, value in facts:
        try:
            win32service.ChangeServiceConfig2(service, level, value)
        except pywintypes.error as error:
            if error.winerror != words.NO_SUCH_LEVEL:
                raise
            yield name


def _let_log_on(account: str) -> None:
    """Give an account the right to log on as a service, as services.msc does."""
    security: Any = win32security  # which takes None for this machine, whatever the stubs say
    sid, _, _ = security.LookupAccountName(None, account)
    policy = security.LsaOpenPolicy(None, security.POLICY_LOOKUP_NAMES | security.POLICY_CREATE_ACCOUNT)
    try:
        security.LsaAddAccountRights(policy, sid, (security.SE_SERVICE_LOGON_NAME,))
    finally:
        security.LsaClose(policy)


def remove() -> None:
    """Stop the service and take it away. Raises ServiceError."""
    with _in_words("remove the service"):
        with _service(ntsecuritycon.DELETE):
            pass
        stop()
        with _service(ntsecuritycon.DELETE) as service:
            win32service.DeleteService(service)
        with suppress(pywintypes.error):  # there was none
            win32evtlogutil.RemoveSourceFromRegistry(NAME, "Application")


# ---------------------------------------------------------------- start and stop


def start() -> bool:
    """Start the service and wait until it runs; whether it did not run before. Raises ServiceError."""
    with (
        _in_words("start the service"),
        _service(win32service.SERVICE_START | win32service.SERVICE_QUERY_STATUS) as service,
    ):
        try:
            win32service.StartService(service, None)
        except pywintypes.error as error:
            if error.winerror != words.ALREADY_RUNNING:
                raise ServiceError(words.not_started(error.winerror, error.strerror)) from None
            new = bool(win32service.QueryServiceStatus(service)[1] == win32service.SERVICE_START_PENDING)  # by itself
        else:
            new = True
        status = _settled(service, win32service.SERVICE_START_PENDING, "start")
        if status["CurrentState"] != win32service.SERVICE_RUNNING:
            how = words.ended(status["Win32ExitCode"], status["ServiceSpecificExitCode"])
            raise ServiceError(f"the service did not start: {how}")
        return new


def stop() -> bool:
    """Stop the service and wait until it has; whether it ran before. Raises ServiceError."""
    with (
        _in_words("stop the service"),
        _service(win32service.SERVICE_STOP | win32service.SERVICE_QUERY_STATUS) as service,
    ):
        try:
            win32service.ControlService(service, win32service.SERVICE_CONTROL_STOP)
        except pywintypes.error as error:
            if error.winerror != words.NOT_ACTIVE:
                raise
            return False
        _settled(service, win32service.SERVICE_STOP_PENDING, "stop", also=win32service.SERVICE_RUNNING)
        return True


def reload() -> None:
    """Have the service read its configuration again; its log says what comes of it. Raises ServiceError."""
    with _in_words("reload the service"), _service(win32service.SERVICE_PAUSE_CONTINUE) as service:
        win32service.ControlService(service, win32service.SERVICE_CONTROL_PARAMCHANGE)


def _settled(service: Handle, pending: int, does: str, also: int = 0) -> Any:  # noqa: ANN401 - a dict, whatever the stubs say
    """The status once it is neither pending nor `also`. Raises ServiceError where nothing goes on for too long.

    As services are to be waited for: as long as their check point moves.
    https://learn.microsoft.com/en-us/windows/win32/services/starting-a-service
    """
    seen, since = -1, time.monotonic()
    while True:
        status: Any = win32service.QueryServiceStatusEx(service)
        if status["CurrentState"] not in {pending, also}:
            return status
        if status["CheckPoint"] != seen:
            seen, since = status["CheckPoint"], time.monotonic()
        patience = max(status["WaitHint"] / 1000, NO_PROGRESS_FOR)
        if time.monotonic() - since > patience:
            raise ServiceError(
                f"the service does not {does}: process {status['ProcessId']} made no progress for {patience:.0f} s."
                f" Its log may say why; `taskkill /F /PID {status['ProcessId']}` ends it."
            )
        time.sleep(LOOK_EVERY)
