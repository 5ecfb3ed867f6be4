"""Files to work: configuration and catalogue -> Deployment, and what its probes share."""

from __future__ import annotations

import platform
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from exporter.config import catalogue as shipped
from exporter.config import settings as config
from exporter.config.authorities import load_authorities
from exporter.config.documents import Mistake, unreadable
from exporter.config.fingerprints import load_marks
from exporter.model.addresses import AddressRanges
from exporter.model.authorities import Authorities
from exporter.model.fingerprints import Marks
from exporter.model.vocabulary import (
    Catalogue,
    CheckKey,
    Group,
    Plan,
    Proxy,
    Requirement,
    Settings,
    Site,
    TlsSettings,
    Ways,
)
from exporter.plan.checks import plan
from exporter.plan.emptiness import why_nothing
from exporter.plan.requirements import everything, requirements
from exporter.plan.selection import Selection, weighed
from exporter.plan.unused import unused
from exporter.probe.block_pages import domains_of
from exporter.probe.classify import Signs
from exporter.probe.net import clock_in_force, sign_ins_of, trusted_roots, verifying
from exporter.probe.net.required_roots import required_roots_present
from exporter.probe.runner import Network, found_at
from exporter.proxies.finding import Found, find


@dataclass(frozen=True, slots=True)
class Source:
    """Where a configuration comes from, and how the command line narrows it."""

    config_file: Path | None = None
    selection: Selection = field(default_factory=Selection)


@dataclass(frozen=True, slots=True)
class Needed:
    """Of what a plan is made: what is shipped, all groups, and the site as it is narrowed."""

    catalogue: Catalogue
    groups: tuple[Group, ...]
    site: Site


@dataclass(frozen=True, slots=True)
class Deployment:
    """A configuration turned into work."""

    settings: Settings
    plan: Plan
    patterns: frozenset[str]  # that the documents name: where an endpoint may lead to
    found: Found = field(default_factory=Found)  # of proxies that Windows or a PAC file names
    unused: tuple[Mistake, ...] = ()  # what the configuration says in vain
    needed: Needed | None = None


def deploy(source: Source) -> Deployment:
    """Read everything anew, what Windows and PAC files say of proxies included. Raises DocumentError, SelectionError.

    DocumentError has every mistake, and what this machine lacks; what is read from Windows or the network is read once
    all else is right.
    """
    return _deployed(source, _read(source), elsewhere=False)


def examine(source: Source) -> tuple[Deployment, tuple[Mistake, ...]]:
    """The same of a configuration that may be another machine's, and what only this one lacks for it."""
    catalogue = shipped.load()
    settings, lacking = config.examine(source.config_file, catalogue)
    deployment = _deployed(source, _Read(catalogue, settings), elsewhere=True)
    return deployment, (*lacking, *deployment.found.lacking)


def _deployed(source: Source, read: _Read, *, elsewhere: bool) -> Deployment:
    work = _planned(source, read)
    patterns = (endpoint.pattern for group in read.groups for endpoint in group.endpoints)
    found = find(
        work,
        read.settings.proxies.values(),
        str(source.config_file),
        lambda: trusted(read.settings.tls),
        elsewhere=elsewhere,
    )
    needed = Needed(read.catalogue, read.groups, _narrowed(source, read, read.settings.site))
    return Deployment(read.settings, work, frozenset(patterns), found, _unused(read), needed)


def _unused(read: _Read) -> tuple[Mistake, ...]:
    """What the configuration says in vain, in the order of its lines."""
    written = read.settings.written
    found = (
        Mistake(written.file, written.lines.get(each.place, 1), each.place, each.message)
        for each in unused(read.catalogue, read.settings)
    )
    return tuple(sorted(found, key=lambda mistake: mistake.line))


def planned(source: Source) -> Plan:
    """The work alone, of which nobody asks which way it goes. Raises as `deploy`."""
    return _planned(source, _read(source))


def _planned(source: Source, read: _Read) -> Plan:
    return _plan_of(read, _narrowed(source, read, read.settings.site))


def _plan_of(read: _Read, site: Site) -> Plan:
    needed = requirements(read.catalogue, read.groups, site)
    work = plan(needed, read.settings.proxies, read.settings.via)
    why = "" if needed else why_nothing(read.catalogue, read.groups, site)
    return replace(work, site=site.name or platform.node(), why_nothing=why)


def _narrowed(source: Source, read: _Read, site: Site) -> Site:
    """The site as the command line narrows it; without a configuration, of everything that is shipped."""
    if source.config_file is None and source.selection.clouds:
        site = replace(site, clouds=tuple(read.catalogue.clouds))
    return source.selection.applied(site, read.catalogue, read.groups)


def selected(source: Source) -> tuple[Catalogue, Settings, tuple[Group, ...], Site]:
    """What is shipped, what is configured, all groups of both, and the site as it is narrowed. Raises as `deploy`."""
    read = _read(source)
    site = _narrowed(source, read, read.settings.site)
    return read.catalogue, read.settings, read.groups, site


def documented(source: Source, *, whole: bool) -> Plan:
    """What is documented for the selected site, or for any site at all, as work. Raises what `deploy` raises."""
    read = _read(source)
    site = everything(read.catalogue, read.settings.site) if whole else read.settings.site
    return _plan_of(read, _narrowed(source, read, site))


def documented_anywhere(source: Source) -> tuple[tuple[Requirement, ...], Site]:
    """What is documented for any site at all, and the site itself. Raises what `deploy` raises."""
    catalogue, _, groups, site = selected(source)
    limiting = {parameter.name for parameter in catalogue.parameters.values() if parameter.values}
    filling = {name: value for name, value in site.parameters.items() if name not in limiting}
    anywhere = replace(everything(catalogue, site), features=(), parameters=filling)
    return requirements(catalogue, groups, anywhere), site


@dataclass(frozen=True, slots=True)
class _Read:
    """What is shipped and what is configured."""

    catalogue: Catalogue
    settings: Settings

    @property
    def groups(self) -> tuple[Group, ...]:
        return weighed((*self.catalogue.groups, *self.settings.groups), self.settings.features)


def _read(source: Source) -> _Read:
    catalogue = shipped.load()
    return _Read(catalogue, config.load(source.config_file, catalogue))


@contextmanager
def _trust_store() -> Iterator[None]:
    """Raise Unreadable, as of any other file, where one of the trust store cannot be read: out of descriptors, say."""
    try:
        yield
    except OSError as error:
        raise unreadable(str(error.filename or "the trust store"), error) from None


@_trust_store()
def trusted(tls: TlsSettings) -> ssl.SSLContext:
    """What verifies chains. Reads the trust store, which takes a moment; raises Unreadable."""
    return verifying(tls)


@_trust_store()
def network_of(deployment: Deployment, before: Network | None = None) -> Network:
    """What the probes of a deployment share. Reads the trust store, which takes a moment; raises Unreadable.

    From the network before, it has the sign-ins to proxies: a reload must not try a refused password anew.
    """
    settings = deployment.settings
    clock = clock_in_force()  # now, so that the first packets do not come before the kernel stamps them
    if deployment.plan.checks:
        from exporter.probe.net.certificates import public_roots  # noqa: PLC0415 - see there

        public_roots()  # so that the first probes do not wait for these
    known = () if before is None else (*before.sign_ins.values(), *before.former)
    proxies = _concrete(settings.proxies, deployment.found.ways)
    sign_ins = sign_ins_of(proxies, known)
    by_tls = any(proxy.url.startswith("https:") for proxy in proxies.values())
    marks, authorities = _shipped_words(shipped.shipped() / "vocabulary")
    return Network(
        verifying(settings.tls),
        settings.proxies,
        sign_ins,
        Signs(marks.fingerprints, domains_of(deployment.patterns, marks.shared), marks.shared),
        AddressRanges(settings.address_ranges),
        clock,
        tuple(sign_in for sign_in in dict.fromkeys(known) if sign_in.was_refused and sign_in not in sign_ins.values()),
        verifying(settings.tls, with_secrets=True) if by_tls else None,
        deployment.found.ways,
        authorities,
    )


@cache
def _shipped_words(vocabulary: Path) -> tuple[Marks, Authorities]:
    """By which block pages and authorities are known. As the catalogue, they belong to the program: read once."""
    return load_marks(vocabulary / "fingerprints.yaml"), load_authorities(vocabulary / "authorities.yaml")


def _concrete(proxies: Mapping[str, Proxy], ways: Mapping[CheckKey, Ways]) -> dict[str, Proxy]:
    """Every proxy that has a URL: each at which the account of a name may have to sign in."""
    given = {name: proxy for name, proxy in proxies.items() if proxy.url}
    named = {(key.proxy, url) for key, found in ways.items() for url in found.urls if key.proxy and url}
    return given | {found_at(name, url): replace(proxies[name], url=url) for name, url in sorted(named)}


@_trust_store()
def required_roots_of(network: Network) -> Mapping[str, bool]:
    """Whether each root that the documents name is trusted by these probes; empty where the system does not say.

    Reads the files of the trust store; raises Unreadable.
    """
    roots = trusted_roots(network.context)
    return {} if roots is None else required_roots_present(network.authorities.required_roots, roots)
