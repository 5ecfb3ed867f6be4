"""Read what Microsoft publishes for machines, and write it as groups or as ranges that the configuration can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from exporter.published import environments, microsoft365, ranges
from exporter.published.comparison import Comparison, compared
from exporter.published.content import Content, Format, Unusable, content, recognised
from exporter.published.fetch import from_file, from_web
from exporter.published.imported import Choice, Endpoints, Imported, Option, Ranges
from exporter.published.writing import Origin, written

__all__ = [
    "Choice",
    "Comparison",
    "Endpoints",
    "Format",
    "Imported",
    "Option",
    "Origin",
    "Ranges",
    "Unusable",
    "compared",
    "extract",
    "from_file",
    "from_web",
    "written",
]

Reader: TypeAlias = Callable[[Content, Choice], Imported]

# Each format's reader, and the options that it heeds.
READERS: Final[Mapping[Format, tuple[Reader, frozenset[Option]]]] = MappingProxyType(
    {
        Format.MICROSOFT_365: (microsoft365.read, frozenset(Option)),
        Format.AZURE_ENVIRONMENTS: (environments.read, frozenset({Option.ROLE, Option.CLOUD})),
        Format.PUBLIC_IP_SPACE: (ranges.read_public_ip_space, frozenset()),
        Format.SERVICE_TAGS: (ranges.read_service_tags, frozenset({Option.ID})),
    }
)


def extract(data: bytes, choice: Choice, form: Format = Format.AUTO) -> Imported:
    """What a source holds. Total: raises Unusable for whatever cannot be imported."""
    found = content(data)
    if form is Format.AUTO:
        form = recognised(found)
    read, heeded = READERS[form]
    for option in sorted(choice.given() - heeded):
        raise Unusable(f"--{option} says nothing about {form}; leave it out")
    return read(found, choice)
