"""Read what Windows or a PAC file says of a configuration's proxies: (plan, proxies) -> the ways to each target."""

from __future__ import annotations

import os
import ssl
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from exporter.config.documents import DocumentError, Mistake, reason, spelled
from exporter.config.fields import url_fault
from exporter.model.vocabulary import CheckKey, Plan, Proxy, SystemProxy, Target, Ways
from exporter.probe.net import Route
from exporter.proxies import pac, winhttp
from exporter.proxies.evaluation import NoEngine, NotEvaluated, evaluate
from exporter.proxies.server import NoServer, written
from exporter.proxies.windows import Setting, setting
from exporter.published import Unusable, from_file, from_web
from exporter.system.loop import run_on_loop
from exporter.text.numbers import plural
from exporter.text.secrets import address

FETCHED_WITHIN: Final = 10.0  # seconds
LARGEST: Final = 1 << 20  # bytes of a PAC file; real ones have up to some hundred thousand
_NAMES: Final[Mapping[SystemProxy, str]] = MappingProxyType(
    {SystemProxy.WINHTTP: "WinHTTP, for this machine", SystemProxy.WININET: "WinINET, for this account"}
)
_DETECTS: Final = (
    "is set to look for a PAC file in the network (WPAD), which is not done here: give its address in `pac`, or switch "
    "that off"
)
_MARKS: Final = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8-sig"))  # byte order mark -> encoding

Trust = Callable[[], ssl.SSLContext]


class NotFound(Exception):
    """A proxy that cannot be found; the message says why, and what to do."""


class NotHere(NotFound):
    """A proxy that cannot be found on this machine, and maybe on another."""


class Finder(Protocol):
    """Where a proxy is found."""

    @property
    def notes(self) -> Sequence[str]:
        """What was read, for who sits at the console: with addresses, without credentials."""

    @property
    def warnings(self) -> Sequence[str]:
        """What is not done as it stands there; holds no address."""

    def ways(self, targets: Sequence[Target]) -> list[Ways]:
        """The ways to each target, in their order. May block; raises NotFound."""


@dataclass(frozen=True, slots=True)
class _ByUrl:
    url: str
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()

    def ways(self, targets: Sequence[Target]) -> list[Ways]:
        return [Ways((self.url,)) for _ in targets]


@dataclass(frozen=True, slots=True)
class _BySetting:
    setting: Setting
    notes: Sequence[str]
    warnings: Sequence[str]

    def ways(self, targets: Sequence[Target]) -> list[Ways]:
        return [self.setting.ways(target) for target in targets]


@dataclass(frozen=True, slots=True)
class _ByPac:
    place: str  # as it may be shown
    script: str
    notes: Sequence[str]
    warnings: Sequence[str]

    def ways(self, targets: Sequence[Target]) -> list[Ways]:
        questions = [pac.question(target) for target in targets]
        each = list(dict.fromkeys(questions))
        try:
            answers = dict(zip(each, evaluate(self.script, each), strict=True))
        except NoEngine as error:
            raise NotHere(f"{self.place}: {error}") from None
        except NotEvaluated as error:
            raise NotFound(f"{self.place}: {error}") from None
        found: dict[tuple[str, str], Ways] = {}
        for question, answer in answers.items():
            try:
                found[question] = pac.ways(answer)
            except pac.Rubbish as error:
                raise NotFound(
                    f"{self.place}: what it answers for {question[0]} is no way to go: {error}; ask who keeps it"
                ) from None
        return [found[question] for question in questions]


def finder(proxy: Proxy, trust: Trust) -> Finder:
    """Read where a proxy is found: Windows' settings, or a PAC file. Blocks; raises NotFound, and NotWindows."""
    if proxy.system is not None:
        return _as_windows_has_it(proxy.system, trust)
    if proxy.pac is not None:
        return _by_pac(proxy.pac, trust)
    return _ByUrl(proxy.url)


def _as_windows_has_it(where: SystemProxy, trust: Trust) -> Finder:
    name = _NAMES[where]
    try:
        held = winhttp.held(where)
    except OSError as error:
        raise NotFound(f"{name}, cannot be read: {reason(error)}") from None
    warnings = (f"{name}, {_DETECTS}",) if held.detects else ()
    if held.pac is not None:
        if fault := url_fault(held.pac):
            raise NotFound(f"{name}, names a PAC file that cannot be fetched: {fault}; give it in `pac`")
        return _by_pac(held.pac, trust, f"{name}: ", warnings)
    try:
        found = setting(held.proxies, held.exceptions)
    except NoServer as error:
        raise NotFound(f"{name}, holds what is no proxy: {error}; correct it there, or give `url`") from None
    return _BySetting(found, (f"{name}: {found}", *warnings), warnings)


def _by_pac(place: str, trust: Trust, prefix: str = "", warnings: Sequence[str] = ()) -> Finder:
    by_web = "://" in place
    shown = address(place) if by_web else place
    try:
        data = _fetched(place, trust()) if by_web else from_file(Path(place), LARGEST)
    except Unusable as unfit:
        remedy = "give an address that answers, or a copy as a file" if by_web else "give the path of a PAC file"
        missing = not by_web and not os.path.exists(place)  # noqa: PTH110 - Path's raises
        raise (NotHere if missing else NotFound)(f"{prefix}the PAC file {shown} {unfit}; {remedy}") from None
    script = _text(data)
    if script.lstrip().startswith("<"):
        raise NotFound(f"{prefix}the PAC file {shown} is a web page or XML, and no script; open it in a browser")
    note = f"{prefix}the PAC file {shown}, {plural(len(data), 'byte')}"
    return _ByPac(f"{prefix}the PAC file {shown}", script, (note, *warnings), warnings)


def _fetched(url: str, context: ssl.SSLContext) -> bytes:
    return run_on_loop(from_web, url, lambda _: Route(context), FETCHED_WITHIN, LARGEST, beside=True)


def _text(data: bytes) -> str:
    """The script, in the encoding that it says, or as browsers take what says none."""
    encoding = next(encoding for mark, encoding in _MARKS if data.startswith(mark))
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return data.decode("latin-1")


# ---------------------------------------------------------------- all proxies of a configuration


@dataclass(frozen=True, slots=True)
class Found:
    """The ways to the targets whose proxy is not given by its URL, and what was read to find them."""

    ways: Mapping[CheckKey, Ways] = field(default_factory=dict)
    notes: Sequence[str] = ()  # for who sits at the console
    warnings: Sequence[str] = ()  # for the log
    lacking: Sequence[Mistake] = ()  # proxies that cannot be found on this machine only


def find(plan: Plan, proxies: Iterable[Proxy], file: str, trust: Trust, *, elsewhere: bool = False) -> Found:
    """Find each proxy that is not given by its URL, for each check that goes through it.

    Blocks; raises DocumentError with what is wrong with each proxy. `elsewhere`: the configuration may be another
    machine's, so that it is no error where a proxy cannot be found on this one only.
    """
    ways: dict[CheckKey, Ways] = {}
    notes: list[str] = []
    warnings: list[str] = []
    mistakes: list[Mistake] = []
    for proxy in proxies:
        if proxy.url:
            continue
        place = ("proxies", proxy.name, "pac" if proxy.system is None else "system")
        keys = [check.key for check in plan.checks if check.key.proxy == proxy.name]
        try:
            read = finder(proxy, trust)
            found = dict(zip(keys, read.ways([key.target for key in keys]), strict=True))
        except winhttp.NotWindows as error:
            message = f"{error}, and this is {sys.platform}; give `url` or `pac` here"
            mistakes.append(Mistake(file, proxy.line, place, message, local=True))
        except NotHere as error:
            mistakes.append(Mistake(file, proxy.line, place, str(error), local=True))
        except NotFound as error:
            mistakes.append(Mistake(file, proxy.line, place, str(error)))
        else:
            ways |= found
            notes += (f"{spelled(place)}: {line}" for line in (*read.notes, *_counted(found)))
            warnings += (f"{spelled(place)}: {line}" for line in (*read.warnings, *_without_a_way(found)))
    if not all(elsewhere and mistake.local for mistake in mistakes):
        raise DocumentError(mistakes)
    return Found(ways, notes, warnings, mistakes)


def _counted(found: Mapping[CheckKey, Ways]) -> list[str]:
    """How many targets go which ways."""
    counts = Counter(ways.urls for ways in found.values())
    return [
        f"{count} of {plural(len(found), 'target')}: {', then '.join(map(written, urls)) or 'no way that is supported'}"
        for urls, count in counts.most_common()
    ]


def _without_a_way(found: Mapping[CheckKey, Ways]) -> list[str]:
    return [f"{key.target.url}: {ways.why_none}" for key, ways in found.items() if ways.why_none is not None]
