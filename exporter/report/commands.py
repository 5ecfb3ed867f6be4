"""How a person sees a fault without the exporter: commands.yaml, the one place for command lines and what they show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar, Final
from urllib.parse import urlsplit

from exporter.model.vocabulary import Reason, Target
from exporter.report.invocation import Shell, pasteable
from exporter.report.shipped import KEYS_ARE_KNOWN, Parts, read_shipped

EXAMPLE_TARGET: Final = Target("https://go.microsoft.com/")
EXAMPLE_PROXY: Final = "http://proxy.corp.example:3128"
EXAMPLE_RESOLVER: Final = "192.0.2.53"  # an address for documents (RFC 5737): whoever reads puts in a real one


@dataclass(frozen=True, slots=True)
class Command:
    """A command line with `{url}`, `{host}`, `{port}`, `{proxy}`, ... in it, and what it shows where the fault is this.

    What stands under `exits`, `prints` and `lacks` is seen in the laboratory, with curl and OpenSSL of Debian.
    """

    line: Parts
    shows: Parts = ""  # whole sentences
    exits: tuple[int, ...] = ()  # one of these is the exit status
    prints: tuple[str, ...] = ()  # one of these is in the output
    lacks: str = ""  # and this is not
    scheme: str = ""  # of the targets that it is for; empty: of any

    __pydantic_config__: ClassVar = KEYS_ARE_KNOWN

    def is_for(self, target: Target) -> bool:
        """Whether it shows anything of this target."""
        return self.scheme in {"", target.scheme}


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The commands for one reason: PowerShell on the site system, and a POSIX shell beside it."""

    powershell: tuple[Command, ...]
    posix: tuple[Command, ...]

    __pydantic_config__: ClassVar = KEYS_ARE_KNOWN


def by_path(command: Command, proxy: str | None) -> Command:
    """The command for a target that goes through a proxy of this name, or direct."""
    line = command.line
    if proxy is not None and "{proxy" not in line:
        for program, option in all_commands().through_proxy.items():
            line = re.sub(rf"^{re.escape(program)}(?= )", f"{program} {option}", line, flags=re.MULTILINE)
    return replace(command, line=line)


def filled_in(
    text: str, target: Target = EXAMPLE_TARGET, proxy: str = EXAMPLE_PROXY, shell: Shell | None = None
) -> str:
    """A text with the names in it filled in, as they may stand between single quotes of a shell."""
    parts = urlsplit(proxy)
    host = f"[{target.host}]" if ":" in target.host else target.host
    facts = {
        "url": pasteable(target.url),
        "host": target.host,
        "port": str(target.port),
        "socket": f"{host}:{target.port}",
        "proxy": proxy,
        "proxy_host": parts.hostname or "",
        "proxy_port": str(parts.port or ""),
        "resolver": EXAMPLE_RESOLVER,
    }
    # Not str.format: braces are PowerShell's and curl's own as well.
    return re.sub(
        rf"(?<!%)\{{({'|'.join(facts)})\}}",
        lambda name: facts[name[1]] if shell is None else shell.within_quotes(facts[name[1]]),
        text,
    )


def filled(
    command: Command, target: Target = EXAMPLE_TARGET, proxy: str = EXAMPLE_PROXY, shell: Shell = Shell.POSIX
) -> str:
    """The command line for this target, through this proxy; what is filled in stands between single quotes."""
    line = filled_in(command.line, target, proxy, shell)
    # curl takes brackets and braces for a pattern of several URLs, but for those of an address.
    return re.sub(r"^curl(\.exe)? ", r"curl\1 --globoff ", line) if set("[]{}") & set(target.url) else line


@dataclass(frozen=True, slots=True)
class AllCommands:
    """What commands.yaml holds."""

    local_system: tuple[Command, ...]  # each is a way to run commands as that account
    its_proxies: tuple[Command, ...]  # which proxy Windows says that it uses
    revocation: tuple[Command, ...]  # what curl of Windows says where revocation cannot be asked for
    fixed: Confirmation  # what is seen of a target that is usable
    through_proxy: Mapping[str, str]  # what sends a command through a proxy, by the command's name
    walk: Confirmation  # the way of a probe, for when there is no one reason
    certificate: Confirmation  # what a server presents
    reasons: Mapping[Reason, Confirmation]
    parts: object = None  # what the others share, by YAML's anchors

    __pydantic_config__: ClassVar = KEYS_ARE_KNOWN


@cache
def all_commands() -> AllCommands:
    """The commands for every reason and for when there is none; read when they are first asked for."""
    return read_shipped("commands.yaml", AllCommands)
