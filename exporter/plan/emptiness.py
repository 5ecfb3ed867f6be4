"""Why a site selects nothing: (catalogue, groups, site) -> in words, what it would have to name. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from exporter.model.vocabulary import Catalogue, Group, Requirement, Site, Status
from exporter.plan.requirements import requirements

_MOST_NAMED: Final = 3  # words of a list in a sentence


def why_nothing(catalogue: Catalogue, groups: Iterable[Group], site: Site) -> str:
    """One clause for each feature that is named, else one for all, where a site selects nothing.

    `tenant-attach is needed by service-connection-point, not by distribution-point`.
    """
    every = tuple(groups)
    if not site.features:
        return _of_all(catalogue, every, site)
    clauses = [_of_feature(catalogue, every, replace(site, features=(name,)), name) for name in site.features]
    if len(clauses) > _MOST_NAMED + 1:
        clauses[_MOST_NAMED:] = [f"and {len(clauses) - _MOST_NAMED} features more"]
    return "; ".join(clauses)


def _of_feature(catalogue: Catalogue, groups: tuple[Group, ...], site: Site, name: str) -> str:
    """What one feature is for, and the site is not: the first limit without which it would be selected."""
    for kind, wide in _without_one_limit(catalogue, site).items():
        if found := requirements(catalogue, groups, wide):
            return _clause(kind, name, found, site)
    return f"{name} is needed by nothing under these roles, clouds, statuses and version together"


def _of_all(catalogue: Catalogue, groups: tuple[Group, ...], site: Site) -> str:
    whom = listed(site.roles or catalogue.roles)
    for kind, wide in _without_one_limit(catalogue, site).items():
        if kind != "roles" and (found := requirements(catalogue, groups, wide)):
            return _clause(kind, f"everything that is documented for {whom}", found, site)
    return f"nothing that is documented is for {whom}"


def _without_one_limit(catalogue: Catalogue, site: Site) -> Mapping[str, Site]:
    """What people think of last comes first: a version rules out what a role needs in another cloud, too."""
    wide = wider(catalogue, site)
    return {kind: wide[kind] for kind in ("version", "statuses", "roles", "clouds")}


def _clause(kind: str, name: str, found: Iterable[Requirement], site: Site) -> str:
    consumers = [requirement.use.consumer for requirement in found]
    match kind:
        case "roles":
            return f"{name} is needed by {listed(one.role for one in consumers)}, not by {listed(site.roles)}"
        case "clouds":
            return f"{name} is for {listed(one.cloud for one in consumers)}, not for {listed(site.clouds)}"
        case "statuses":
            words = listed(str(requirement.endpoint.status) for requirement in found)
            return f"{name} is {words}, which `site.statuses` does not name"
        case _:
            return f"{name} is not for version {site.version} of Configuration Manager"


def wider(catalogue: Catalogue, site: Site) -> Mapping[str, Site]:
    """A site without one of its limits, by that."""
    return {
        "roles": replace(site, roles=tuple(catalogue.roles)),
        "features": replace(site, features=()),
        "statuses": replace(site, statuses=tuple(Status)),
        "clouds": replace(site, clouds=tuple(catalogue.clouds)),
        "version": replace(site, version=None),
    }


def listed(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b, c and 4 more`."""
    found = list(dict.fromkeys(words))
    if len(found) > _MOST_NAMED:
        return f"{', '.join(found[:_MOST_NAMED])} and {len(found) - _MOST_NAMED} more"
    return " and ".join(filter(None, (", ".join(found[:-1]), found[-1])))
