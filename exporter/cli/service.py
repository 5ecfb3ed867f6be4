"""`service`: install the exporter as a service of Windows; reload, start, stop, look at and remove it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

import exporter
from exporter.cli.options import BAD_INPUT, NOT_READY, source_of
from exporter.cli.serve import DEFAULT_ADDRESS, serve
from exporter.config import catalogue as shipped
from exporter.config.documents import reason
from exporter.config.wizard import Answers, written
from exporter.service.load import planned
from exporter.system.windows_service.accounts import NETWORK_SERVICE, account_named, empty_password, has_password
from exporter.system.windows_service.command import (
    CONFIG_OPTION,
    NAME,
    ServiceCommand,
    belongs_to_a_person,
    configuration,
    inbound_rule,
    listening,
)
from exporter.system.windows_service.words import RUNNING, Condition
from exporter.web.access import Credentials
from exporter.web.server import parted

if sys.platform == "win32":
    import ctypes
    import msvcrt
    import os
    from ctypes import wintypes

    from exporter.system.windows_service import folder, manager

    REFUSED: Final = (manager.ServiceError, folder.FolderError)

NOT_RUNNING: Final = 3  # exit status of `service status`, as init scripts have it
STDIN: Final = "-"
LAST_LINES: Final = 20  # of the log, where a start fails
_PLAIN: Final = re.compile(r"[\w:\\.-]+")  # a path that PowerShell takes for one word, and for a command

service = typer.Typer(help="The exporter as a service of Windows.", no_args_is_help=True, rich_markup_mode=None)
_serve: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
_serve.command()(serve)
SERVE: Final[Any] = typer.main.get_command(_serve)


def _only_on_windows() -> NoReturn:
    unit = "config/systemd/configmgr-endpoint-exporter.service"
    typer.echo(f"service: Windows only; on Linux use the systemd unit, {unit}", err=True)
    raise typer.Exit(BAD_INPUT)


@service.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def install(
    context: typer.Context,
    account: Annotated[
        str | None,
        typer.Option(
            "--account", metavar="NAME", help=f"Whom it runs as; default {NETWORK_SERVICE}. A password is asked for."
        ),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(
            "--password-file", readable=False, metavar="FILE", help="Holds the account's password; - is standard input."
        ),
    ] = None,
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log.file",
            readable=False,
            metavar="FILE",
            help=f"Where it logs, in files of 10 MB; default log\\exporter.log in %ProgramData%\\{NAME}.",
        ),
    ] = None,
) -> None:
    r"""Install the service, with the options of `serve` that follow; or update the one that there is.

    Its configuration is %ProgramData%\ConfigMgrEndpointExporter\exporter.yaml, which is made if there is none. What is
    not said again stays as it was.
    """
    given = serve_options(context.args)
    if sys.platform == "win32":
        _install(given, account, password_file, log_file)
    else:
        _only_on_windows()


@service.command()
def remove() -> None:
    """Stop the service and take it away. Configuration and log stay."""
    if sys.platform == "win32":
        with _in_words():
            manager.remove()
        typer.echo(f"Removed. Its configuration and its log are still in {folder.data_folder()}.")
    else:
        _only_on_windows()


@service.command()
def start() -> None:
    """Start the service, and wait until it listens."""
    if sys.platform == "win32":
        before = _condition()
        log_file = _log_of(before)
        seen = size_of(log_file)
        with _in_words(lambda: last_errors(log_file, seen)):
            new = manager.start()
        typer.echo(f"{'Started' if new else 'It runs already'}: it listens on {', '.join(_addresses(before))}.")
    else:
        _only_on_windows()


@service.command()
def stop() -> None:
    """Stop the service, and wait until it has."""
    if sys.platform == "win32":
        with _in_words():
            ran = manager.stop()
        typer.echo("Stopped." if ran else "It did not run.")
    else:
        _only_on_windows()


@service.command("reload")
def reload_() -> None:
    """Have the service read its configuration again; its log says what comes of it."""
    if sys.platform == "win32":
        with _in_words():
            manager.reload()
        typer.echo(f"Asked; what comes of it is in {_log_of(_condition())}.")
    else:
        _only_on_windows()


@service.command()
def status() -> None:
    """Show the service: state, process, last end, account, start, addresses, log and command."""
    if sys.platform == "win32":
        found = _condition(absent=NOT_RUNNING)
        known = ServiceCommand.parsed(found.command)
        file = configuration(known.options if known else ())
        for name, value in found.lines(", ".join(_addresses(found)), file, str(_log_of(found))):
            typer.echo(f"{name + ':':14} {value}")
        if found.state != RUNNING:
            raise typer.Exit(NOT_RUNNING)
    else:
        _only_on_windows()


def serve_options(words: Sequence[str]) -> tuple[str, ...]:
    """The same options of `serve`, each file by its whole path, for a process that starts in another folder.

    Raises what `serve` raises for options that it does not know, and for what they name that cannot be used.
    """
    context = SERVE.make_context("service install", list(words))
    found: list[str] = []
    for parameter in SERVE.params:
        value = context.params.get(parameter.name)
        if value == parameter.default or value in (None, [], ()):
            continue
        option = parameter.opts[0]
        if parameter.is_flag:
            found.append(option)
        else:
            values = value if isinstance(value, list | tuple) else [value]
            found += (
                text for one in values for text in (option, str(one.absolute() if isinstance(one, Path) else one))
            )
    return tuple(found)


def called(program: str, python: str = sys.executable) -> str:
    """What is typed in PowerShell, in whichever folder, to call this command again. `program`: as it was called.

    Of a Python the whole path, since `python` alone opens Microsoft's store on a Windows that has it not on its PATH.
    """
    if program.endswith("__main__.py"):
        return f"{called(python)} -m exporter"
    return program if _PLAIN.fullmatch(program) else f'& "{program}"'


def usable(options: Sequence[str]) -> None:
    """Read every file that the options name. Raises as `serve` does for what cannot be used.

    What Windows or a PAC file says of proxies is not read: it says that to the account of the service.
    """
    said = SERVE.make_context("service install", list(options)).params
    planned(source_of(said["config_file"], said["feature"], said["role"], said["cloud"]))
    Credentials(said["web_config_file"])
    for address in said["listen"] or []:
        parted(address)


def size_of(log: Path) -> int:
    """How much has been logged, in bytes; 0 for who may not look: what comes next says so."""
    try:
        return log.stat().st_size
    except OSError:
        return 0


def last_errors(log: Path, seen: int) -> list[str]:
    """What was logged as an error since."""
    try:
        with log.open("rb") as file:
            file.seek(seen if size_of(log) >= seen else 0)
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    errors = [line for line in lines if "level=error" in line or '"level": "error"' in line]
    return [f"{log}:", *(f"  {line}" for line in errors[-LAST_LINES:])] if errors else [f"Its log: {log}"]


if sys.platform == "win32":

    @contextmanager
    def _in_words(more: Callable[[], Sequence[str]] = tuple) -> Iterator[None]:
        """Say what was refused, and end by the status for that."""
        try:
            yield
        except REFUSED as error:
            for line in (str(error), *more()):
                typer.echo(line, err=True)
            raise typer.Exit(NOT_READY) from None

    def _install(
        given: tuple[str, ...], account: str | None, password_file: Path | None, log_file: Path | None
    ) -> None:
        with _in_words():
            manager.require_rights()
            before = manager.condition()
        known = ServiceCommand.parsed(before.command) if before else None
        options = given or (known.options if known else ())
        data = folder.data_folder()
        if CONFIG_OPTION not in options:
            options = (CONFIG_OPTION, str(data / "exporter.yaml"), *options)
        log = (log_file or Path(known.log_file if known else data / "log" / "exporter.log")).absolute()
        if log.is_dir():
            raise typer.BadParameter(f"{log} is a folder; name a file in it.", param_hint="--log.file")
        logon = _logon(account, password_file, new=before is None)
        with _in_words():
            program = _program(log, options, logon.account if logon else before.account if before else "")
            folder.made(data, log.parent)
            if Path(configuration(options)) == data / "exporter.yaml":
                _begin(data / "exporter.yaml")
        usable(options)
        ran = before is not None and before.state == RUNNING
        seen = size_of(log)
        with _in_words(lambda: last_errors(log, seen)):
            if ran:
                manager.stop()
            try:
                lacking = manager.install(program.text, logon)
            finally:
                if ran:
                    manager.start()
        _report(before, program, lacking, ran=ran)

    def _program(log: Path, options: tuple[str, ...], account: str) -> ServiceCommand:
        """What the service manager shall run. Raises FolderError for what the account could not read."""
        python = Path(sys.base_exec_prefix, "python.exe")
        script = Path(exporter.__file__).with_name("windows_service_main.py")
        profiles = Path(os.environ.get("PUBLIC", r"C:\Users\Public")).parent
        for path in (python, script):
            if belongs_to_a_person(str(path), str(profiles)) and not has_password(account):
                raise folder.FolderError(
                    f"{path} lies in a person's own folder, which the service's account cannot read."
                    f" Put the exporter into {os.environ.get('ProgramFiles')}, by a Python for all users."  # noqa: SIM112
                )
        return ServiceCommand(str(python), str(script), str(log), options)

    def _logon(account: str | None, password_file: Path | None, *, new: bool) -> manager.Logon | None:
        """The account that was named, or the usual one of a new service; None leaves it as it is."""
        if account is None:
            if password_file is not None:
                raise typer.BadParameter("of whom? Give --account, too.", param_hint="--password-file")
            return manager.Logon(NETWORK_SERVICE, empty_password(NETWORK_SERVICE)) if new else None
        name = account_named(account)
        if not has_password(name):
            return manager.Logon(name, empty_password(name))
        return manager.Logon(name, _password(name, password_file))

    def _somebody_types() -> bool:
        """Whether stdin is a console; NUL is a terminal, too, for C, and a password would be waited for without end."""
        if sys.stdin is None or not sys.stdin.isatty():
            return False
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(sys.stdin.fileno()))
        return bool(ctypes.WinDLL("kernel32").GetConsoleMode(handle, ctypes.byref(wintypes.DWORD())))

    def _password(name: str, file: Path | None) -> str:
        if file is None:
            if not _somebody_types():
                raise typer.BadParameter(
                    f"nobody can be asked for the password of {name}; give it by --password-file.",
                    param_hint="--account",
                )
            return str(typer.prompt(f"Password of {name}", hide_input=True))
        try:
            text = sys.stdin.readline() if str(file) == STDIN else file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"{file} cannot be read: {reason(error)}.", param_hint="--password-file") from None
        return text.rstrip("\r\n")

    def _begin(file: Path) -> None:
        """A configuration to begin with, if there is none."""
        try:
            with file.open("x", encoding="utf-8", newline="\r\n") as out:
                out.write(written(Answers(), shipped.load()))
        except FileExistsError:
            folder.refuse_strangers(file)
        except OSError as error:
            raise folder.FolderError(f"{file} cannot be written: {reason(error)}.") from None

    def _report(before: Condition | None, program: ServiceCommand, lacking: list[str], *, ran: bool) -> None:
        for place in (Path(program.python).parent, Path(program.script).parent):
            if anybody := folder.who_may_alter(place):
                typer.echo(
                    f"warning: {' and '.join(anybody)} may change {place}, and so what the service runs."
                    f" Put the exporter into {os.environ.get('ProgramFiles')}.",  # noqa: SIM112
                    err=True,
                )
        if lacking:
            typer.echo(f"warning: this system does not support: {', '.join(lacking)}.", err=True)
        if before is None:
            typer.echo(f"Installed as {NAME}; it starts with Windows, and now by:")
            typer.echo(f"  {called(sys.argv[0])} service start")
        else:
            same = before.command == program.text
            runs = " It runs again." if ran else ""
            typer.echo(f"{NAME} was there already, with {'the same' if same else 'another'} command.{runs}")
            if not same:
                typer.echo(f"  before: {before.command}")
        typer.echo(f"  now: {program.text}")
        if rule := inbound_rule(listening(program.options, DEFAULT_ADDRESS)):
            typer.echo("For others to ask it, the firewall needs a rule, which you make if you want it:")
            typer.echo(f"  {rule}")

    def _condition(absent: int = NOT_READY) -> Condition:
        """The installed service; ends with words, and this status, where there is none."""
        with _in_words():
            found = manager.condition()
        if found is None:
            typer.echo(f"the service is not installed. Type: {called(sys.argv[0])} service install", err=True)
            raise typer.Exit(absent)
        return found

    def _addresses(found: Condition) -> tuple[str, ...]:
        known = ServiceCommand.parsed(found.command)
        return listening(known.options if known else (), DEFAULT_ADDRESS)

    def _log_of(found: Condition) -> Path:
        known = ServiceCommand.parsed(found.command)
        return Path(known.log_file) if known else folder.data_folder() / "log" / "exporter.log"
