"""Select what this site needs: (catalogue, the operator's groups, site) -> Requirements. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from exporter.model.patterns import fill, host_of, is_wildcard, path_of
from exporter.model.vocabulary import (
    DEFAULT_PORTS,
    NO_PATTERN,
    Catalogue,
    Consumer,
    Endpoint,
    Group,
    Importance,
    Representative,
    Requirement,
    Site,
    Status,
    Target,
    Use,
    WhyUnprobed,
)


def requirements(catalogue: Catalogue, groups: Iterable[Group], site: Site) -> tuple[Requirement, ...]:
    """Every documented endpoint that the site selects, once for each consumer; each with targets or with a reason."""
    titled = tuple(groups)
    docs_of = {group.feature: group.docs for group in reversed(titled) if group.docs}
    importance_of = {group.feature: group.importance for group in titled if group.importance}
    values = _known_values(catalogue, site.parameters)
    found: dict[Use, Requirement] = {}
    for group in titled:
        if site.features and group.feature not in site.features:
            continue
        for consumer in _consumers(catalogue, replace(group, clouds=()), site):
            if (why_not := _unsupported(catalogue, group, consumer.cloud)) is not None:
                use = Use(consumer, NO_PATTERN)
                found[use] = Requirement(
                    use, Endpoint(NO_PATTERN), docs_of.get(group.feature), (), WhyUnprobed.NOT_SUPPORTED, why_not
                )
        for endpoint in group.endpoints:
            if not _selected(endpoint, site):
                continue
            in_cloud = {
                cloud: _targets(_known_in(catalogue, endpoint, cloud), endpoint, values, own=group.own)
                for cloud in site.clouds
            }
            for consumer in _consumers(catalogue, group, site):
                if _unsupported(catalogue, group, consumer.cloud) is not None:
                    continue
                targets, why, detail = in_cloud[consumer.cloud]
                use = Use(consumer, endpoint.pattern)
                docs = endpoint.docs or group.docs or docs_of.get(group.feature)
                new = Requirement(
                    use,
                    endpoint,
                    docs,
                    targets,
                    why,
                    detail,
                    group.logs,
                    group.messages,
                    group.troubleshooting,
                    importance_of.get(group.feature, Importance.NORMAL),
                )
                found[use] = _merged(found[use], new) if use in found else new
    return tuple(found[use] for use in sorted(found))


def everything(catalogue: Catalogue, site: Site) -> Site:
    """A site that needs every documented endpoint, with the parameters and the features of `site`."""
    return replace(
        site, clouds=tuple(catalogue.clouds), roles=tuple(catalogue.roles), statuses=tuple(Status), version=None
    )


def canonical(url: str) -> str:
    """The one spelling of a URL: scheme and host in lower case, no default port, never an empty path."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if parts.port is not None and parts.port != DEFAULT_PORTS.get(parts.scheme):
        host = f"{host}:{parts.port}"
    return urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))


def _selected(endpoint: Endpoint, site: Site) -> bool:
    """Whether status, version and the operator's parameters ask for this line."""
    return (
        endpoint.status in site.statuses
        and endpoint.versions.includes(site.version)
        and all(site.parameters.get(name, values[0]) in values for name, values in endpoint.only_for.items())
    )


def _unsupported(catalogue: Catalogue, group: Group, cloud: str) -> str | None:
    """Who says that a cloud does not have the feature; what the operator adds to it is asked for all the same."""
    known = catalogue.clouds.get(cloud)
    return None if group.own or known is None else known.unsupported.get(group.feature)


def _consumers(catalogue: Catalogue, group: Group, site: Site) -> Iterator[Consumer]:
    roles = group.roles or site.roles or tuple(catalogue.roles)
    for role in roles:
        for cloud in group.clouds or site.clouds:
            if (not site.roles or role in site.roles) and cloud in site.clouds:
                yield Consumer(group.feature, role, cloud)


def _merged(first: Requirement, second: Requirement) -> Requirement:
    """Two lines with one text for one consumer (a catalogue line and the operator's own): all their targets.

    Where both name a URL, the line that stands later says how it is asked.
    """
    targets = {target.url: target for target in first.targets}
    targets |= {target.url: target.also(targets.get(target.url, target)) for target in second.targets}
    if not targets:
        return second
    return replace(second, targets=tuple(targets.values()), why_unprobed=None, detail=None)


# ---------------------------------------------------------------- targets


def _known_in(catalogue: Catalogue, endpoint: Endpoint, cloud: str) -> Catalogue:
    """The catalogue with only those hosts for the endpoint's wildcard that stand for it in a cloud."""
    host = host_of(endpoint.pattern)
    known = catalogue.wildcards.get(host)
    if known is None or not any(one.clouds for one in known.representatives):
        return catalogue
    here = tuple(one for one in known.representatives if cloud in (one.clouds or (cloud,)))
    return replace(catalogue, wildcards={**catalogue.wildcards, host: replace(known, representatives=here)})


def _targets(
    catalogue: Catalogue, endpoint: Endpoint, values: Mapping[str, str], *, own: bool
) -> tuple[tuple[Target, ...], WhyUnprobed | None, str | None]:
    """What is probed for an endpoint, or why nothing is."""
    if not set(endpoint.schemes) & set(DEFAULT_PORTS):
        return (), WhyUnprobed.NOT_HTTP, f"{'/'.join(endpoint.schemes)} cannot be probed by an HTTP request"
    templates = endpoint.probe or tuple(_urls_of(catalogue, endpoint))
    if not templates:
        return (), WhyUnprobed.NO_REPRESENTATIVE, _why_no_host(catalogue, endpoint)
    filled = [(template, *fill(template, values)) for template in templates]
    urls = {canonical(url): own or _is_parameter(template) for template, url, _ in filled if url is not None}
    if not urls:
        missing = sorted({name for _, _, names in filled for name in names})
        return (), WhyUnprobed.MISSING_PARAMETER, _how_to_give(catalogue, missing, values)
    targets = tuple(
        Target(url, endpoint.method, endpoint.accept, theirs, _leads_to(catalogue, endpoint, url))
        for url, theirs in urls.items()
    )
    return targets, None, None


def _leads_to(catalogue: Catalogue, endpoint: Endpoint, url: str) -> frozenset[str]:
    """Where a target's redirects may lead beside what is documented itself."""
    forwarder = catalogue.forwarders.get(urlsplit(url).hostname or "")
    return frozenset((*endpoint.leads_to, *(forwarder.leads_to if forwarder else ())))


_GIVEN: Final = re.compile(r"(?:[a-z]+://)?\{\w+\}(?::\d+)?(?:/.*)?")


def _is_parameter(template: str) -> bool:
    """Whether the operator gives the whole host of a URL, and no suffix of Microsoft's follows."""
    return _GIVEN.fullmatch(template) is not None


def _urls_of(catalogue: Catalogue, endpoint: Endpoint) -> Iterator[str]:
    """URLs made from the pattern itself, or from the hosts that stand for a wildcard."""
    pattern = endpoint.pattern
    if "<" in pattern:
        return
    if is_wildcard(pattern):
        known = catalogue.wildcards.get(host_of(pattern))
        for representative in known.representatives if known else ():
            yield from _standing_for(endpoint, representative)
    elif "://" in pattern:
        yield pattern
    else:
        yield from _spelled(host_of(pattern), endpoint.schemes, endpoint)


def _standing_for(endpoint: Endpoint, representative: Representative) -> Iterator[str]:
    """URLs of a host that stands for a wildcard: where the pattern is a URL, that one with another host."""
    tied = representative.schemes or tuple(DEFAULT_PORTS)
    if "://" in endpoint.pattern:
        parts = urlsplit(endpoint.pattern)
        netloc = parts.netloc.lower().replace(host_of(endpoint.pattern), representative.host)
        if parts.scheme in tied:
            yield urlunsplit(parts._replace(netloc=netloc))
    else:
        usable = tuple(scheme for scheme in endpoint.schemes if scheme in tied)
        yield from _spelled(representative.host, usable, endpoint)


def _spelled(host: str, schemes: tuple[str, ...], endpoint: Endpoint) -> Iterator[str]:
    path = endpoint.path if endpoint.path != "/" else path_of(endpoint.pattern)
    for scheme in schemes:
        for port in endpoint.ports_of(scheme) if scheme in DEFAULT_PORTS else ():
            yield f"{scheme}://{host}:{port}{path}"


def _why_no_host(catalogue: Catalogue, endpoint: Endpoint) -> str:
    known = catalogue.wildcards.get(host_of(endpoint.pattern))
    if known and known.none_found:
        return known.none_found
    return "no host is known that stands for it: give `probe` URLs in a group of your own"


# ---------------------------------------------------------------- parameters


def _known_values(catalogue: Catalogue, given: Mapping[str, str]) -> dict[str, str]:
    """What the operator gave, and the defaults that can be filled from it."""
    values = dict(given)
    pending = {p.name: p.default for p in catalogue.parameters.values() if p.default and p.name not in values}
    while True:
        known = {name: text for name, default in pending.items() if (text := fill(default, values)[0]) is not None}
        if not known:
            return values
        values |= known
        pending = {name: default for name, default in pending.items() if name not in known}


def _how_to_give(catalogue: Catalogue, missing: Iterable[str], values: Mapping[str, str]) -> str:
    """`set site.parameters.a` for plain names; for one with a default, what that default lacks."""
    roots: dict[str, None] = {}
    for name in missing:
        parameter = catalogue.parameters.get(name)
        lacking = fill(parameter.default, values)[1] if parameter and parameter.default else ()
        roots |= dict.fromkeys(lacking or (name,))
    return "set " + ", ".join(f"site.parameters.{name}" for name in roots)
