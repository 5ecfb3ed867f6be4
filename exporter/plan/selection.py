"""Narrow a site to what the command line names: (site, names) -> Site. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from exporter.config.documents import DocumentError
from exporter.config.fields import unknown
from exporter.model.vocabulary import Catalogue, Group, Site


class NarrowingError(Exception):
    """A name on the command line that the site does not have."""


UNUSABLE: Final = (DocumentError, NarrowingError)  # what a person must mend before there is a plan


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Names from the command line; an empty tuple leaves the site as it is."""

    features: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    clouds: tuple[str, ...] = ()

    def applied(self, site: Site, catalogue: Catalogue, groups: Iterable[Group]) -> Site:
        """The site, less what is not named. Raises NarrowingError for a name that the site does not have."""
        features = site.features or tuple(dict.fromkeys(group.feature for group in groups))
        return replace(
            site,
            features=_named("--feature", self.features, features) or site.features,
            roles=_named("--role", self.roles, site.roles or tuple(catalogue.roles)) or site.roles,
            clouds=_named("--cloud", self.clouds, site.clouds) or site.clouds,
        )


def _named(option: str, names: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in known:
            raise NarrowingError(f"{option} {name}: {unknown(f'{option[2:]} of this site', known, name)}")
    return tuple(dict.fromkeys(names))
