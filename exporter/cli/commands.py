"""The group of all commands, each of which is imported when somebody calls it: to import all takes a second."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final, TypeAlias

import typer
from typer.core import TyperCommand, TyperGroup

from exporter.cli.examples import EXAMPLES

_COMMANDS: Final[Mapping[str, str]] = {  # name -> module, where the command has this name
    "serve": "exporter.cli.serve",
    "check": "exporter.cli.check",
    "validate": "exporter.cli.listing",
    "endpoints": "exporter.cli.listing",
    "allowlist": "exporter.cli.allowlist",
    "explain": "exporter.cli.check",
    "catalogue": "exporter.cli.catalogue",
    "config": "exporter.cli.config",
    "service": "exporter.cli.service",
}
_Click: TypeAlias = Any  # what typer hands on of its own copy of click, which has no public types
_NOT_OURS: Final = "Value error, "  # what pydantic puts before the words of whoever refuses a value


class Command(TyperCommand):
    """A command whose help says what to type, and leaves out of which type that is for Python."""

    def collect_usage_pieces(self, ctx: _Click) -> list[str]:
        """`[OPTIONS] SOURCE`."""
        return [
            "[OPTIONS]",
            *(found.metavar or "" for found in self.get_params(ctx) if found.param_type_name == "argument"),
        ]

    def format_options(self, ctx: _Click, formatter: _Click) -> None:
        """Arguments and options, with their meaning."""
        kinds: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
        for found in self.get_params(ctx):
            if record := found.get_help_record(ctx):
                name = (found.metavar or "") if found.param_type_name == "argument" else re.sub("[<>]", "", record[0])
                kinds[found.param_type_name].append((name, record[1]))
        for kind, records in kinds.items():
            if records:
                with formatter.section(f"{kind.capitalize()}s"):
                    formatter.write_dl(records)

    def get_short_help_str(self, limit: int = 0) -> str:  # noqa: ARG002 - the library's signature
        """The first sentence, whole."""
        return " ".join((self.help or "").split("\n\n")[0].split()).partition(". ")[0].removesuffix(".") + "."


class Commands(TyperGroup):
    """All commands; none is there before it is asked for."""

    def list_commands(self, ctx: _Click) -> list[str]:  # noqa: ARG002 - the library's signature
        """The names, in the order of `--help`."""
        return list(_COMMANDS)

    def get_command(self, ctx: _Click, cmd_name: str) -> _Click:  # noqa: ARG002 - the library's signature
        """The command of a name; None if there is none."""
        if cmd_name in _COMMANDS and cmd_name not in self.commands:
            self.commands[cmd_name] = _made(cmd_name, getattr(import_module(_COMMANDS[cmd_name]), cmd_name))
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: _Click, args: list[str]) -> _Click:
        """The command that is called; of a word that is none, all are compared."""
        if args[0] not in _COMMANDS:
            for name in _COMMANDS:
                self.get_command(ctx, name)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: _Click) -> _Click:
        """Run a command; what is wrong with its options is said in words of ours."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix(_NOT_OURS)
            raise


def _made(name: str, made_of: typer.Typer | Callable[..., None]) -> _Click:
    """A command of a function, or of a group of functions, with its examples."""
    if isinstance(made_of, typer.Typer):
        for below in made_of.registered_commands:
            below.cls = Command
        group: _Click = typer.main.get_group(made_of)
        for inner, command in group.commands.items():
            command.epilog = _epilog(f"{name} {inner}")
        return group
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, cls=Command, epilog=_epilog(name))(made_of)
    return typer.main.get_command(alone)


def _epilog(name: str) -> str:
    r"""The examples of a command, a line each; \b keeps them from being wrapped."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in EXAMPLES[name])))
