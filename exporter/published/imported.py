"""What is chosen of a source, and what is imported from it: groups of endpoints, or ranges of addresses."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from exporter.config.fields import unknown
from exporter.model.vocabulary import Group, Prefix
from exporter.published.content import Unusable
from exporter.text.printable import bare


class Option(StrEnum):
    """By which option of the command line something is chosen."""

    SERVICE_AREA = "service-area"
    ID = "id"
    ROLE = "role"
    CLOUD = "cloud"


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a source is wanted, and for whom; an empty tuple: all, and everybody."""

    service_areas: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    clouds: tuple[str, ...] = ()

    def given(self) -> frozenset[Option]:
        """The options that say anything."""
        words = {
            Option.SERVICE_AREA: self.service_areas,
            Option.ID: self.ids,
            Option.ROLE: self.roles,
            Option.CLOUD: self.clouds,
        }
        return frozenset(option for option in words if words[option])


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Groups, the prefix of all feature names of their format, and a summary for the heading of the file."""

    groups: tuple[Group, ...]
    features: str
    summary: str


@dataclass(frozen=True, slots=True)
class Ranges:
    """Prefixes, none of which overlaps another, and a summary for the heading of the file."""

    prefixes: tuple[Prefix, ...]
    summary: str


Imported: TypeAlias = Endpoints | Ranges


def among(known: Collection[str], option: Option, words: tuple[str, ...]) -> frozenset[str]:
    """The words that an option gives. Raises Unusable for one that the source does not have."""
    strange = [f"--{option} {word}: {unknown(option, known, word)}" for word in words if word not in known]
    if strange:
        raise Unusable(*strange)
    return frozenset(words)


_LONGEST: Final = 1000  # characters of a note; what is longer explains nothing


def printable(text: str) -> str:
    """What may be repeated of a text of the source."""
    return bare(text, _LONGEST)
