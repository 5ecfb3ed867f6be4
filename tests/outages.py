"""Outages, what of them a night shift wants to hear and why: at one place, and where there are fifty."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, Self, TypeVar

from exporter.config.catalogue import load
from tests.lab import EXTRA_HOSTS, PROXY_HOST, Flaw, Lab, Port, catalogue_hosts
from tests.paging import CENTRE, MARK, ONE, Chain, Setting, Watch, chain, watch, written
from tests.running import ADDRESS, COMMAND, ROOT, eventually, http, program
from tests.sites import EXPORTERS

LASTS: Final = 300.0  # seconds of an outage, where it does not end by itself
LONGER: Final = 480.0  # where tickets wait for more
HOST: Final = "definitionupdates.microsoft.com"  # that one feature needs
SHARED: Final = "go.microsoft.com"  # that several features need
WILDCARD: Final = "*.manage.microsoft.com"


@dataclass(frozen=True)
class Place:
    """What watches, and how much faster than as shipped. Seconds are as at the shipped pace."""

    watch: Watch
    pace: float

    def wait(self, seconds: float) -> None:
        """Let so many seconds go by."""
        time.sleep(seconds / self.pace)


P = TypeVar("P", bound=Place)


@dataclass(frozen=True)
class Outage(Generic[P]):
    """What is broken and for how many seconds; the alerts of the pages and tickets that are wanted, and why those."""

    begins: Callable[[P], AbstractContextManager[None]]
    why: str
    pages: tuple[str, ...] = ()  # one for each page; the names of several in one are joined by +
    tickets: tuple[str, ...] = ()
    lasts: float = LASTS
    setting: Setting = ONE


# ---------------------------------------------------------------- one place

_SECOND: Final = ("--match", "mark", "--mark", MARK)  # what the second exporter sends
_FIRST: Final = ("--match", "mark", "!", "--mark", MARK)


@dataclass(frozen=True)
class Site(Place):
    """One site in a laboratory of its own."""

    lab: Lab
    chain: Chain

    @classmethod
    @contextmanager
    def built(cls, pace: float, setting: Setting) -> Iterator[Self]:
        """With all that watches it; returns when all is quiet."""
        with (
            Lab.start(catalogue_hosts() | EXTRA_HOSTS) as lab,
            tempfile.TemporaryDirectory() as directory,
            chain(lab, Path(directory), pace, setting) as running,
        ):
            yield cls(running, pace, lab, running)

    @contextmanager
    def redirected(self, port: Port) -> Iterator[None]:
        """Have the proxy behave as on another of its ports."""
        address = self.lab.addresses_of[PROXY_HOST][0]
        rule = ["OUTPUT", "--destination", address, "--protocol", "tcp", "--dport", str(int(Port.OPEN))]
        rule += ["--jump", "DNAT", "--to-destination", f"{address}:{int(port)}"]
        with self._rule(*rule, table="nat"):
            yield

    @contextmanager
    def _rule(self, chain: str, *rule: str, table: str = "filter") -> Iterator[None]:
        command = ["iptables", "--wait", "--table", table]
        self.lab.run([*command, "--insert", chain, *rule], check=True)
        try:
            yield
        finally:
            self.lab.run([*command, "--delete", chain, *rule], check=True)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Have the exporter stand still."""
        self.chain.exporter.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.chain.exporter.process.send_signal(signal.SIGCONT)

    @contextmanager
    def killed(self, *, again: bool = False) -> Iterator[None]:
        """End the exporter at once; in the end another begins, if it shall."""
        process = self.chain.exporter.process
        process.kill()
        process.wait()
        yield
        if again:
            self._begun_anew()

    def _begun_anew(self) -> subprocess.Popen[bytes]:
        arguments = self.chain.exporter.process.args
        assert isinstance(arguments, list)
        # It goes with the laboratory.
        return subprocess.Popen(
            arguments, env=self.lab.env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    @contextmanager
    def restarting(self, every: float, times: int) -> Iterator[None]:
        """Kill the exporter over and over as soon as it has lived for so many seconds; the last one stays."""
        process = self.chain.exporter.process
        for _ in range(times):
            process.kill()
            process.wait()
            process = self._begun_anew()
            self.wait(every)
        yield

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Let no scrape through to the exporter."""
        with self._rule("INPUT", "--protocol", "tcp", "--dport", ADDRESS.rpartition(":")[2], "--jump", "DROP"):
            yield

    @contextmanager
    def agent_cut(self) -> Iterator[None]:
        """Cut the line, by which the agent sends as well."""
        to_centre = ("INPUT", "--destination", CENTRE, "--protocol", "tcp", "--jump", "DROP")
        with self.lab.cut_line(*_FIRST), self._rule(*to_centre):
            yield

    @contextmanager
    def second_cut_later(self, seconds: float) -> Iterator[None]:
        """Cut the line of one exporter, and that of the other so many seconds later."""
        with self.lab.cut_line(*_FIRST):
            self.wait(seconds)
            with self.lab.cut_line(*_SECOND):
                yield

    @contextmanager
    def clock_moved(self, seconds: float) -> Iterator[None]:
        """Set the exporter's clock that many seconds off."""
        self.chain.move_clock(seconds)
        yield
        self.chain.move_clock(0.0)

    @contextmanager
    def configured(self, change: Callable[[str], str]) -> Iterator[None]:
        """Reload a changed configuration, and in the end the one before."""
        file = self.chain.told.parent / "exporter.yaml"
        before = file.read_text()
        self._reload(file, change(before))
        try:
            yield
        finally:
            self._reload(file, before)

    def _reload(self, file: Path, text: str) -> None:
        file.write_text(text)
        self.chain.exporter.get("/-/reload", "--request", "POST")


@contextmanager
def all_of(faults: Iterable[AbstractContextManager[None]]) -> Iterator[None]:
    """Several at once."""
    with ExitStack() as together:
        for fault in faults:
            together.enter_context(fault)
        yield


def _below(wildcard: str) -> tuple[str, ...]:
    return tuple(found.host for found in load().wildcards[wildcard].representatives)


OUTAGES: Final[Mapping[str, Outage[Site]]] = {
    "The line is cut": Outage(lambda site: site.lab.cut_line(), "One cause, whatever fails with it.", ("PathDown",)),
    "A proxy refuses connections": Outage(
        lambda site: site.lab.reset(PROXY_HOST), "One cause, whatever fails with it.", ("PathDown",)
    ),
    "A proxy is silent": Outage(
        lambda site: site.lab.drop(PROXY_HOST), "One cause, whatever fails with it.", ("PathDown",)
    ),
    "A proxy restarts, 20 s": Outage(
        lambda site: site.lab.reset(PROXY_HOST), "It is over before anybody could act.", lasts=20.0
    ),
    "A proxy wants a login": Outage(
        lambda site: site.redirected(Port.AUTH),
        "One cause, and it names the account and not the network.",
        ("ProxyAuthenticationRequired",),
    ),
    "A proxy begins to inspect TLS": Outage(
        lambda site: site.redirected(Port.INSPECTING),
        "Half of what goes through it fails for one reason.",
        ("PathFailing",),
        lasts=600.0,
    ),
    "A proxy is slow": Outage(
        lambda site: site.lab.delay_data(PROXY_HOST, Port.OPEN, 1.0),
        "Everything works: nobody is called; without weeks of history it is not even a ticket.",
        lasts=600.0,
    ),
    "The resolver is silent": Outage(
        lambda site: site.lab.dns_silent(), "One cause, whatever fails with it.", ("PathDown",)
    ),
    "A name is not known": Outage(
        lambda site: site.lab.dns_missing("sts.windows.net"),
        "The feature is down: a page for who runs it, a ticket for who runs the network.",
        ("FeatureNotReady",),
        ("EndpointDown",),
        lasts=LONGER,
    ),
    "A host of one feature is refused": Outage(
        lambda site: site.lab.reset(HOST),
        "The feature is down: a page for who runs it, a ticket for who runs the network.",
        ("FeatureNotReady",),
        ("EndpointDown",),
        lasts=LONGER,
    ),
    "A host of many features is refused": Outage(
        lambda site: site.lab.reset(SHARED),
        "One host of several features, so one page and none for each feature.",
        ("HostDown",),
    ),
    "One target of a wildcard is refused": Outage(
        lambda site: site.lab.reset(_below(WILDCARD)[0]),
        "No feature is down: it can wait for the day, for the firewall and for the proxy.",
        (),
        ("EndpointDown", "EndpointDown"),
        lasts=LONGER,
    ),
    "The rule for a wildcard is missing": Outage(
        lambda site: all_of(map(site.lab.reset, _below(WILDCARD))),
        "Several hosts fail together: most often it is one rule that is missing.",
        ("HostDown",),
    ),
    "A certificate has expired": Outage(
        lambda site: site.lab.certificate("download.visualstudio.microsoft.com", Flaw.EXPIRED),
        "The feature is down: a page for who runs it; the rest can wait for the day.",
        ("FeatureNotReady",),
        ("EndpointDown", "CertificateExpired"),
        lasts=LONGER,
    ),
    "A packet is lost": Outage(lambda site: site.lab.drop_one(HOST), "The next attempt goes well.", lasts=60.0),
    "A connection is reset": Outage(lambda site: site.lab.reset_one(HOST), "The next attempt goes well.", lasts=60.0),
    "The exporter's machine stands still": Outage(
        lambda site: site.suspended(), "Nobody watches: one page for that.", ("ExporterDown",)
    ),
    "The exporter is not reached": Outage(
        lambda site: site.unreachable(), "Nobody watches: one page for that.", ("ExporterDown",)
    ),
    "The exporter is killed for good": Outage(
        lambda site: site.killed(), "Nobody watches: one page for that, and nothing stale beside it.", ("ExporterDown",)
    ),
    "The exporter is restarted": Outage(
        lambda site: site.killed(again=True), "It probes again before anybody could act.", lasts=20.0
    ),
    "The exporter restarts over and over": Outage(
        lambda site: site.restarting(40.0, 7), "It never watches for long: one page.", ("ExporterRestarts",), lasts=60.0
    ),
    "Reboot in the maintenance window": Outage(
        lambda site: site.killed(again=True),
        "Planned: the route mutes it.",
        lasts=240.0,
        setting=Setting(maintenance=True),
    ),
    "The line of a site with an agent is cut": Outage(
        lambda site: site.agent_cut(),
        "It can say nothing any more, and that is the page.",
        ("ExporterVanished",),
        lasts=660.0,
        setting=Setting(second=True, agent=True),
    ),
    "Two sites, the second out 3 minutes later": Outage(
        lambda site: site.second_cut_later(180.0),
        "Each is a page at its own time, and not an update of the first one's.",
        ("PathDown", "PathDown"),
        setting=Setting(second=True),
    ),
    "The exporter's clock jumps an hour ahead": Outage(
        lambda site: site.clock_moved(3600.0), "It goes on probing.", setting=Setting(clock=True)
    ),
    "The exporter's clock jumps an hour back": Outage(
        lambda site: site.clock_moved(-3600.0), "It goes on probing.", setting=Setting(clock=True)
    ),
    "A broken configuration is reloaded": Outage(
        lambda site: site.configured(lambda text: f"{text}prob: {{}}\n"),
        "The old one is in force: it can wait for the day.",
        (),
        ("ReloadFailed",),
        lasts=LONGER,
    ),
    "A good configuration is reloaded": Outage(
        lambda site: site.configured(lambda text: f"{text}# the same\n"), "Nothing is wrong.", lasts=60.0
    ),
}


# ---------------------------------------------------------------- fifty places

MANY: Final = 50
SERVED: Final = 10990  # port of their exporters
CENTRAL: Final = """
site: {roles: [service-connection-point, software-update-point]}
proxies: {central: {url: "http://proxy.corp.example:3128"}}
via: {software-update-point: central}
"""


def exporter_of(number: int) -> int:
    """Which exporter stands for a site: the first two have one of their own, the others share ten."""
    return number if number < 2 else 2 + number % (EXPORTERS - 2)


@dataclass(frozen=True)
class Sites(Place):
    """Fifty site servers, each with a service connection point, and a software update point behind a central proxy."""

    directory: Path

    @classmethod
    @contextmanager
    def built(cls, pace: float, setting: Setting) -> Iterator[Self]:
        """With all that watches them; returns when all is quiet."""
        with Lab.start(EXTRA_HOSTS) as lab, tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            written(directory, lab.proxy_url, pace, setting, ())
            config = directory / "exporter.yaml"
            config.write_text(CENTRAL)
            built = directory / "faults.json"
            built.write_text("{}")
            serving: list[str | Path] = [*COMMAND[:-1], "tests.sites", str(SERVED), config, built]
            with program(lab, directory / "sites.log", serving):
                url = f"http://127.0.0.1:{SERVED}/0/metrics"
                eventually("sites answer", lambda: "configmgr_feature_ready" in http(lab, url).body, within=120)
                _scrape(directory, range(MANY))
                with watch(lab, directory) as watching:
                    eventually("all are scraped", lambda: len(watching.query("up == 1")) == MANY, within=300)
                    watching.settle()
                    yield cls(watching, pace, directory)

    @contextmanager
    def broken(self, what: str, numbers: Collection[int]) -> Iterator[None]:
        """Have something fail at these sites."""
        file = self.directory / "faults.json"
        before: dict[str, str] = json.loads(file.read_text())
        _replace(file, json.dumps(before | {str(exporter_of(number)): what for number in numbers}))
        try:
            yield
        finally:
            _replace(file, json.dumps(before))

    @contextmanager
    def second_later(self, seconds: float) -> Iterator[None]:
        """Cut the line of one site, and that of another so many seconds later."""
        with self.broken("line", [0]):
            self.wait(seconds)
            with self.broken("line", [1]):
                yield

    @contextmanager
    def vanished(self, numbers: Collection[int]) -> Iterator[None]:
        """Have Prometheus find these no more, as when their agents fall silent."""
        _scrape(self.directory, set(range(MANY)) - set(numbers))
        try:
            yield
        finally:
            _scrape(self.directory, range(MANY))

    @contextmanager
    def dead(self, numbers: Collection[int]) -> Iterator[None]:
        """Have these not answer."""
        _scrape(self.directory, range(MANY), numbers)
        try:
            yield
        finally:
            _scrape(self.directory, range(MANY))


def _scrape(directory: Path, numbers: Iterable[int], dead: Collection[int] = ()) -> None:
    """Have Prometheus scrape these sites, and get no answer from some."""
    targets = [
        {
            "targets": [f"127.0.0.1:{SERVED}"],
            "labels": {
                "instance": f"site-{number:02}",
                "__metrics_path__": "/dead" if number in dead else f"/{exporter_of(number)}/metrics",
            },
        }
        for number in numbers
    ]
    _replace(directory / "targets-sites.json", json.dumps(targets))


def _replace(file: Path, text: str) -> None:
    """Write a file so that nobody reads half of it."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


ALL: Final = range(MANY)
HALF: Final = [number for number in ALL if exporter_of(number) in range(7)]
FEW: Final = [number for number in ALL if exporter_of(number) in (4, 5)]
TEN: Final = ALL[-10:]

MANY_SITES: Final[Mapping[str, Outage[Sites]]] = {
    "All lines are cut": Outage(
        lambda sites: sites.broken("line", ALL), "One provider: not a page for each site.", ("PathDownAtManySites",)
    ),
    "Half of the lines are cut": Outage(
        lambda sites: sites.broken("line", HALF), "The same cause at half of the sites.", ("PathDownAtManySites",)
    ),
    "Ten lines are cut": Outage(
        lambda sites: sites.broken("line", FEW), "Ten at once have one cause.", ("PathDownAtManySites",)
    ),
    "One site's line is cut": Outage(lambda sites: sites.broken("line", [0]), "One site.", ("PathDown",)),
    "A second site's line 3 minutes later": Outage(
        lambda sites: sites.second_later(180.0),
        "Each is a page at its own time, and not an update of the first one's.",
        ("PathDown", "PathDown"),
    ),
    "One site is cut off, from the proxy as well": Outage(
        lambda sites: sites.broken("site", [0]), "One site, one cause.", ("PathDown",)
    ),
    "The central proxy is dead": Outage(
        lambda sites: sites.broken("proxy", ALL), "One proxy, one page.", ("PathDownAtManySites",)
    ),
    "A host of many features is refused at all": Outage(
        lambda sites: sites.broken(SHARED, ALL), "One host, one page.", ("HostDownAtManySites",)
    ),
    "The central proxy restarts, 20 s": Outage(
        lambda sites: sites.broken("proxy", ALL), "It is over before anybody could act.", lasts=20.0
    ),
    "A host of many features is refused at ten": Outage(
        lambda sites: sites.broken(SHARED, FEW), "Ten at once have one cause.", ("HostDownAtManySites",)
    ),
    "A host of one feature is refused at ten": Outage(
        lambda sites: sites.broken(HOST, FEW),
        "Ten at once have one cause; the ticket is for who runs the network.",
        ("FeatureNotReadyAnywhere",),
        ("EndpointDown",),
        lasts=LONGER,
    ),
    "A host of many features is refused at one": Outage(
        lambda sites: sites.broken(SHARED, [0]), "One site.", ("HostDown",)
    ),
    "The resolver is silent at all": Outage(
        lambda sites: sites.broken("resolver", ALL), "One cause, one page.", ("PathDownAtManySites",)
    ),
    "TLS inspection begins at all": Outage(
        lambda sites: sites.broken("inspection", ALL), "One device, one page.", ("PathDownAtManySites",)
    ),
    "10 exporters vanish": Outage(
        lambda sites: sites.vanished(TEN), "Ten at once have one cause.", ("ExporterDownAtManySites",)
    ),
    "All exporters vanish": Outage(
        lambda sites: sites.vanished(ALL),
        "Nobody watches anything: one page.",
        ("ExporterDownAtManySites",),
        lasts=LONGER,
    ),
    "10 exporters are dead": Outage(
        lambda sites: sites.dead(TEN), "Ten at once have one cause.", ("ExporterDownAtManySites",)
    ),
    "All exporters are dead": Outage(
        lambda sites: sites.dead(ALL), "Nobody watches anything: one page.", ("ExporterDownAtManySites",)
    ),
}
