"""Narrow a site to what the command line names: (site, names) -> Site. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

from exporter.config.documents import DocumentError
from exporter.config.fields import unknown
from exporter.model.vocabulary import Catalogue, Group, Site


class SelectionError(Exception):
    """A name on the command line that the site does not have."""


UNUSABLE: Final = (DocumentError, SelectionError)  # what a person must fix before there is a plan
_OF_SITE: Final = " of this site"


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
            features=named("feature", self.features, features, _OF_SITE) or site.features,
            roles=named("role", self.roles, site.roles or tuple(catalogue.roles), _OF_SITE) or site.roles,
            clouds=named("cloud", self.clouds, site.clouds, _OF_SITE) or site.clouds,
        )


def named(kind: str, names: Iterable[str], known: Collection[str], whose: str = "") -> tuple[str, ...]:
    """What the option `--KIND` names, each once. Raises SelectionError for a name that is not known."""
    found = tuple(dict.fromkeys(names))
    for name in found:
        if name not in known:
            raise SelectionError(f"--{kind} {name}: {unknown(f'{kind}{whose}', known, name)}")
    return found
