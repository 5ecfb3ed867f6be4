"""The command line that the service manager runs: its parts to one text, and back. Pure."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import pairwise
from pathlib import PureWindowsPath
from typing import Final

NAME: Final = "ConfigMgrEndpointExporter"
DISPLAY_NAME: Final = "ConfigMgr endpoint exporter"
RULE_NAME: Final = "configmgr-endpoint-exporter"
DESCRIPTION: Final = "Can this Configuration Manager site reach what it needs on the internet?"
LOG_OPTION: Final = "--log.file"
LISTEN_OPTION: Final = "--web.listen-address"
CONFIG_OPTION: Final = "--config.file"
ISOLATED: Final = "-IS"  # Python heeds no variable, and no packages but those beside the script


@dataclass(frozen=True, slots=True)
class ServiceCommand:
    """A Python, the script that it runs, the log file, and the options of `serve`."""

    python: str
    script: str
    log_file: str
    options: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As Windows keeps it."""
        return subprocess.list2cmdline([self.python, ISOLATED, self.script, LOG_OPTION, self.log_file, *self.options])

    @classmethod
    def parsed(cls, text: str) -> ServiceCommand | None:
        """The parts of a text that `text` of some version made; None where somebody else wrote it."""
        match list(arguments(text)):
            case [python, flags, script, option, log_file, *options] if flags[:1] == "-" and option == LOG_OPTION:
                return cls(python, script, log_file, tuple(options))
        return None


_PART: Final = re.compile(r'(?P<slashes>\\*)"|(?P<blank>[ \t]+)|(?P<plain>\\+|[^\\" \t]+)')


def arguments(text: str) -> Iterator[str]:
    """The arguments of a command line.

    https://learn.microsoft.com/en-us/cpp/c-language/parsing-c-command-line-arguments, but for two quotation marks in a
    row within quotes, which `subprocess.list2cmdline` does not write.
    """
    word: str | None = None
    quoted = False
    for part in _PART.finditer(text):
        if (slashes := part["slashes"]) is not None:
            word = (word or "") + "\\" * (len(slashes) // 2) + '"' * (len(slashes) % 2)
            quoted ^= len(slashes) % 2 == 0
        elif part["blank"] is not None and not quoted:
            if word is not None:
                yield word
            word = None
        else:
            word = (word or "") + part[0]
    if word is not None:
        yield word


def listening(options: Sequence[str], default: str) -> tuple[str, ...]:
    """The addresses that the options of `serve` name."""
    return tuple(_values(options, LISTEN_OPTION)) or (default,)


def configuration(options: Sequence[str]) -> str:
    """The file that the options of `serve` name."""
    return next(_values(options, CONFIG_OPTION), "")


def _values(options: Sequence[str], option: str) -> Iterator[str]:
    return (value for found, value in pairwise(options) if found == option)


def inbound_rule(addresses: Iterable[str]) -> str | None:
    """The command that lets one host ask from outside; None where only this host can ask."""
    ports = dict.fromkeys(port for address in addresses for host, port in [_split(address)] if not _is_loopback(host))
    if not ports:
        return None
    return (
        f'New-NetFirewallRule -DisplayName "{RULE_NAME}" -Direction Inbound -Action Allow'
        f" -Protocol TCP -LocalPort {','.join(ports)} -RemoteAddress ADDRESS_OF_PROMETHEUS"
    )


def _split(address: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), port


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def belongs_to_a_person(path: str, profiles: str) -> bool:
    r"""Whether a file lies in somebody's own folder, which other accounts cannot read. `profiles`: as `C:\Users`."""
    inside = PureWindowsPath(path).is_relative_to(PureWindowsPath(profiles))
    return inside and not PureWindowsPath(path).is_relative_to(PureWindowsPath(profiles, "Public"))
