"""Narrow a site to what the command line names: (site, names) -> Site. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from exporter.config.aliases import FEATURE_ALIASES, aliases, plain
from exporter.config.documents import DocumentError
from exporter.config.fields import meant, unknown
from exporter.model.vocabulary import (
    Catalogue,
    Endpoint,
    FeatureSettings,
    Group,
    Site,
    WhyReference,
)


class SelectionError(Exception):
    """A name on the command line that the site does not have."""


UNUSABLE: Final = (DocumentError, SelectionError)  # what a person must fix before there is a plan
_OF_SITE: Final = " of this site"


def weighed(groups: Iterable[Group], said: Mapping[str, FeatureSettings]) -> tuple[Group, ...]:
    """The groups with what the operator says of their features: how important they are, and what decides."""
    return tuple(_weighed(group, said[group.feature]) if group.feature in said else group for group in groups)


def _weighed(group: Group, said: FeatureSettings) -> Group:
    endpoints = (_decided(endpoint, said.decides.get(endpoint.pattern)) for endpoint in group.endpoints)
    return replace(group, importance=said.importance or group.importance, endpoints=tuple(endpoints))


def _decided(endpoint: Endpoint, decides: bool | None) -> Endpoint:
    if decides is None or decides is endpoint.decides:
        return endpoint
    return replace(endpoint, reference=None if decides else WhyReference.CONFIGURED)


@dataclass(frozen=True, slots=True)
class Selection:
    """Names from the command line; an empty tuple leaves the site as it is."""

    features: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    clouds: tuple[str, ...] = ()

    def applied(self, site: Site, catalogue: Catalogue, groups: Iterable[Group]) -> Site:
        """The site, less what is not named. Raises SelectionError for a name that the site does not have."""
        features = site.features or tuple(dict.fromkeys(group.feature for group in groups))
        return replace(
            site,
            features=named("feature", self.features, features, _OF_SITE, FEATURE_ALIASES) or site.features,
            roles=named("role", self.roles, site.roles or tuple(catalogue.roles), _OF_SITE, aliases(catalogue.roles))
            or site.roles,
            clouds=named("cloud", self.clouds, site.clouds, _OF_SITE, aliases(catalogue.clouds)) or site.clouds,
        )


def named(
    kind: str,
    names: Iterable[str],
    known: Collection[str],
    whose: str = "",
    also: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, ...]:
    """What the option `--KIND` names, each once, by its slug or as people call it (`also`).

    Raises SelectionError for a name that is not known.
    """
    found: dict[str, None] = {}
    for name in names:
        slugs = {**{plain(word): word for word in known}, **also}
        slug = name if name in known else slugs.get(plain(name))
        if slug is None or slug not in known:
            close = meant(slugs, plain(name))
            raise SelectionError(
                f"--{kind} {name}: {unknown(f'{kind}{whose}', known, slugs[close] if close else name)}"
            )
        found[slug] = None
    return tuple(found)
